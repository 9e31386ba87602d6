"""Who waits for whom: a client that reads slowly, and one that waits although nothing will come."""

from __future__ import annotations

from typing import Any

from .case import PASSES, Case, fails
from .clients import CLOSE, read, read_slowly, send
from .scripts import client, script

_SIZE = 400_000

#: Seconds; a slow reader takes longer for the whole reply, and is never idle for half as long.
_SHORT = {"timeout": 0.2}


def long_reply(server: Any) -> None:
    """The kernel takes the whole reply at once; the client's end is due from then on."""
    script(lambda s: s.expect_line(b"GET"), lambda s: s.send_bytes(b"x" * _SIZE),
           lambda s: s.expect_disconnect())(server)


GET = send(b"GET\r\n")

CASES = (
    Case("slow_reader", PASSES, client(GET, read_slowly(_SIZE), CLOSE), long_reply, lambda: _SHORT),
    Case("slow_reader_stops", fails(r"the client to disconnect; it is still connected and was silent for \d"),
         client(GET, read(_SIZE // 2)), long_reply, lambda: _SHORT),
    Case("reply_is_never_read", fails(r"expected the client to disconnect; .* was silent for \d"),
         client(GET), long_reply, lambda: _SHORT),
)
