"""Looks for what the client sends before it is answered, so that a client that doesn't wait fails in every run.

    look -> the loop is at rest -> [a grace] -> the loop is at rest -> the callback: the answer goes out

What arrives meanwhile is received as ever, and the engine judges it.

- A client in the server's own loop can do nothing while the loop is at rest, unless time goes by.
- A client in another thread or process may be just about to send: it gets a grace, in real time.

Where it is uncertain where the client lives, it gets the grace as well. While another thread of this process runs, or
would run if it had a processor, the grace begins again, a few times. A client that is slower is not caught. A client
that waits for its answers only waits a little longer.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.process.quiescence import child_lives, living_thread
from tcpclient_testing.aio.process.rest import when_at_rest
from tcpclient_testing.aio.process.threads import another_runs
from tcpclient_testing.aio.sockets.inet_diag import on_this_machine
from tcpclient_testing.aio.sockets.loop_inside import watches
from tcpclient_testing.aio.sockets.polling import TICK
from tcpclient_testing.aio.sockets.unix_diag import UnixPeername

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["EarlyInput"]

__unittest = True

# A loop that never rests gets so many seconds at least.
_BOUND = 0.01
# On virtual time no timer takes real time: let other threads run for so many seconds in each turn instead.
_SLICE = 0.0005
# How often the grace begins at most: a thread that computes all the time may have nothing to do with the client.
_GRACES = 5


class EarlyInput:
    """Looks before the answers of one connection. There is one answer at a time."""

    __slots__ = ("looking", "_link", "_callback", "_graces", "_until", "_descriptor")

    def __init__(self, link: Link) -> None:
        #: Whether an answer waits for this.
        self.looking = False
        self._link = link
        self._callback: Callable[[], None] = lambda: None
        self._graces = 0
        self._until = 0.0
        self._descriptor = -1

    def look(self, callback: Callable[[], None]) -> None:
        """Receive what the client has sent without waiting, then call `callback`."""
        self._callback = callback
        self.looking = True
        link = self._link
        when_at_rest(link.loop, max(_BOUND, link.context.grace), self._at_rest)

    def _at_rest(self) -> None:
        link = self._link
        if not link.context.grace or self._has_ended() or self._lives_in_loop():
            self._end()
        else:
            self._graces = 0
            self._begin_grace()

    def _has_ended(self) -> bool:
        return self._link.over or self._link.conversation.inbox.ended

    def _begin_grace(self) -> None:
        link = self._link
        self._graces += 1
        if link.context.virtual:
            self._until = time.monotonic() + link.context.grace + TICK
            self._pass_time()
        else:
            link.loop.call_later(link.context.grace + TICK, self._grace_is_over)

    def _pass_time(self) -> None:
        if time.monotonic() < self._until and not self._has_ended():
            originals.sleep(_SLICE)
            self._link.loop.call_soon(self._pass_time)
        else:
            self._grace_is_over()

    def _grace_is_over(self) -> None:
        if self._graces < _GRACES and not self._has_ended() and another_runs():
            self._begin_grace()
        else:
            # Some loops run timers before they look at sockets (uvloop).
            when_at_rest(self._link.loop, _BOUND, self._end)

    def _end(self) -> None:
        self.looking = False
        self._callback()

    # Where the client lives.

    def _lives_in_loop(self) -> bool:
        """Whether the client certainly runs in the server's own loop."""
        link = self._link
        if link.context.threaded:
            return False
        if link.context.in_memory:
            return True
        stream = link.context.stream_of(link.peername)
        if stream is not None:
            return stream.thread_id == originals.get_ident()
        descriptor = self._find_descriptor()
        if descriptor is None:
            return False
        return _serves(link.loop, descriptor) or not (living_thread() is not None or child_lives())

    def _find_descriptor(self) -> Optional[int]:
        """Return the number under which this process has the client's socket open; None if that is not known."""
        inode = self._peers_inode()
        if not inode:
            return None
        if not _is_socket(self._descriptor, inode):
            self._descriptor = next((number for number in _open_descriptors() if _is_socket(number, inode)), -1)
        return None if self._descriptor < 0 else self._descriptor

    def _peers_inode(self) -> int:
        """Return the inode of the client's socket; 0 if that is not known, or closed."""
        link = self._link
        if isinstance(link.peername, UnixPeername):
            return link.peername.inode
        local: Any = None if link.transport is None else link.transport.get_extra_info("sockname")
        probe = link.context.probe() if on_this_machine(local, link.peername) else None
        try:
            state = None if probe is None else probe.look(local, link.peername)
        except OSError:
            return 0
        return 0 if state is None else state.inode


def _open_descriptors() -> list[int]:
    """Return the numbers of the files that this process has open; [] where the system doesn't show them."""
    try:
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except OSError:
        return []


def _is_socket(descriptor: int, inode: int) -> bool:
    """Whether this descriptor is the socket with that inode."""
    try:
        return descriptor >= 0 and os.fstat(descriptor).st_ino & 0xFFFFFFFF == inode
    except OSError:
        return False


def _serves(loop: Any, descriptor: int) -> bool:
    """Whether `loop` has a transport for this descriptor, or waits for it."""
    if descriptor in getattr(loop, "_transports", ()):
        return True
    return watches(loop, descriptor)
