"""Watches over the thread of a server that has one: a callable of the test may block it.

The server calls the test's functions in its thread: predicates, those that make what is sent, handlers. While one of
them waits, nobody is served, and no time-out ends. A thread can't be ended from outside. So the server gives the thread
up, and the report names the line.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Callable, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.process.watchdog import Watch
from tcpclient_testing.engine.mismatches import Mismatch

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext
    from tcpclient_testing.aio.process.blocked_call import BlockedCall

__all__ = ["PATIENCE", "ThreadBlocked", "ThreadGuard"]

__unittest = True

#: Seconds, if the server has no time-out.
PATIENCE = 5.0
_MORE = 1.0  # seconds that a callable may take beyond the time-out


class ThreadGuard:
    """Watches the thread of one server, from `start()` on. Make it in that thread.

    `blocked` is called once, in the watchdog's thread.
    """

    def __init__(self, context: ServerContext, blocked: Callable[[BlockedCall], None]) -> None:
        timeout = context.environment.timeout
        self._blocked = blocked
        self._watch = Watch(context.loop, originals.get_ident(), (PATIENCE if timeout is None else timeout) + _MORE,
                            lambda: True, self._give_up, threading.get_native_id())

    def start(self) -> None:
        """Begin to watch."""
        self._watch.start()

    def stop(self) -> None:
        """Stop watching."""
        self._watch.stop()

    def look_back(self, exc: BaseException) -> Optional[Mismatch]:
        """Return None: a test does not block this thread."""
        return None

    def _give_up(self, call: BlockedCall) -> None:
        self._watch.stop()
        self._blocked(call)


class ThreadBlocked(Mismatch):
    """A function of the test blocks the thread that the server runs in."""

    __slots__ = ()

    by_the_test = True

    def __init__(self, call: BlockedCall) -> None:
        place = call.place
        super().__init__(f"the server's thread is blocked at {os.path.basename(place.filename)}:{place.lineno} "
                         f"({(place.line or place.name).strip()}): "
                         "functions that the server calls for a script must not wait")
