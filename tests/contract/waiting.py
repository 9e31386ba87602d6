"""Who waits for whom: a client that reads slowly, and one that waits although nothing will come."""

from __future__ import annotations

from typing import Any, Callable

from .bodies import Body, Tools
from .case import PASSES, Case, fails
from .clients import CLOSE, END, READ_END, Operation, read, read_slowly, send
from .scripts import ASK, client, script

_SIZE = 400_000

# Seconds; a slow reader takes longer for the whole reply, and is never idle for half as long.
_SHORT = 0.2

# Seconds: for what is not to be too late, also on a machine that is busy.
_LONG = 20.0


def long_reply(server: Any) -> None:
    """The kernel takes the whole reply at once; the client's end is due from then on."""
    script(lambda s: s.expect_line(b"GET"), lambda s: s.send_bytes(b"x" * _SIZE),
           lambda s: s.expect_disconnect(timeout=_SHORT))(server)


def exchange(server: Any) -> None:
    """PING, PONG, and the script doesn't say what comes then."""
    server.expect_connect(timeout=_LONG)
    server.expect_line(b"PING", timeout=_LONG)
    server.send_line(b"PONG")


def with_heartbeats(server: Any) -> None:
    """The same, and the server sends heartbeats."""
    exchange(server)
    server.every(0.1, b"beat")


def goes_on(*program: Operation) -> Callable[[Tools], Body]:
    """Make a body that goes on for longer than the time-out when the client has done this, and then ends."""
    def body(tools: Tools) -> Body:
        yield tools.run(*ASK, *program)
        yield tools.sleep(2.5 * _SHORT)
        yield tools.run(CLOSE)
    return body


def short() -> dict[str, Any]:
    """Little time for each step."""
    return {"timeout": _SHORT}


GET = send(b"GET\r\n")

WAITS_FOR_END = r"the script is complete, but the client .* has half-closed and waits for the server's end; nothing "
WAITS_FOR_DATA = r"the script is complete; the test waits for data from the server; nothing happened for \d"

CASES = tuple(case._replace(lasts=True) for case in (
    Case("slow_reader", PASSES, client(GET, read_slowly(_SIZE), CLOSE), long_reply),
    Case("slow_reader_stops", fails(r"the client to disconnect; it is still connected and was silent for \d"),
         client(GET, read(_SIZE // 2)), long_reply),
    Case("reply_is_never_read", fails(r"expected the client to disconnect; .* was silent for \d"),
         client(GET), long_reply),
    Case("half_closed_client_waits", fails(WAITS_FOR_END, r"write expect_disconnect\(\) or disconnect\(\)"),
         client(*ASK, END, READ_END), exchange, short),
    Case("half_closed_client_goes_on", PASSES, goes_on(END), exchange, short),
    Case("closed_client_goes_on", PASSES, goes_on(CLOSE), exchange, short),
    Case("reply_is_missing", fails(WAITS_FOR_DATA, r"a reply is missing from the script"), client(*ASK, read(6)),
         exchange, short),
    Case("reply_is_missing_after_a_request", fails(r"the client sent 6 more bytes: b'PING.*; the test waits for data"),
         client(*ASK, *ASK), exchange, short),
    Case("heartbeat_is_read", PASSES, client(*ASK, read(12), CLOSE), with_heartbeats, short),
    Case("connected_client_goes_on", PASSES, goes_on(), exchange, short),
))
