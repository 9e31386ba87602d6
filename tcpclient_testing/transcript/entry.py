"""An entry of a transcript, in the form in which users get it; imported when somebody reads one."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Entry"]


class Entry(NamedTuple):
    """One thing that happened: at `time` (seconds of the server's clock), on connection `number` (0: none).

    `what` is one of the constants CONNECTED, RECEIVED, SENT and NOTED. For RECEIVED and SENT, `content` is the bytes,
    or as much of their beginning as was kept, and `size` is how many bytes there were. Otherwise `content` is a text,
    such as "closed by the client".
    """

    time: float
    number: int
    what: str
    content: Any
    size: int
