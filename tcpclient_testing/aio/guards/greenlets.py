"""Tells whether a greenlet that waits, and in which an event loop runs, waits for a client of a server.

The kernel doesn't know: the thread runs other greenlets, or waits for all of them at once. The frames of the greenlet
show it. The call that waits is gevent's or eventlet's, and has the client's socket, or is a sleep.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from types import FrameType
from typing import Any, Optional

__all__ = ["greenlet_waits_for_client"]

__unittest = True

_LIBRARIES = frozenset({"gevent", "eventlet"})
# An event loop that waits in its selector: that of `selectors`, or one of the library's, which asyncio calls.
_TURNS_BY_ITSELF = frozenset({"_run_once", "select"})


def greenlet_waits_for_client(frame: Optional[FrameType], listeners: Iterable[Any]) -> Optional[bool]:
    """Return whether a greenlet that is suspended in `frame` waits for a client of the server with these listeners.

    Return None if nobody knows: it waits for another greenlet, say, which may be the client.
    """
    names = [listener.getsockname()[:2] for listener in listeners if listener.fileno() >= 0]
    while frame is not None:
        module, function = str(frame.f_globals.get("__name__")), frame.f_code.co_name
        if module.partition(".")[0] not in _LIBRARIES:
            return False if function in _TURNS_BY_ITSELF else None
        if function == "sleep":
            return False
        with contextlib.suppress(OSError, AttributeError):
            waiting: Any = frame.f_locals.get("self")
            peer = waiting.getpeername()
            return peer[:2] in names
        frame = frame.f_back
    return None
