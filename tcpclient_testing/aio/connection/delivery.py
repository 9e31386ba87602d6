"""Waits until a client has taken what was sent: out of its kernel and, where that can be seen, into its own code.

Two writes are not two reads: one read returns everything that the client's kernel holds by then. So the wait has two
parts:

1. Ask the kernel until none of the sent bytes is left there (see `PeerProbe`). Where the kernel can't be asked, wait
   for a fixed time.
2. Wait as many iterations of the loop as a client in this same loop may need between its transport and the coroutine
   that reads. For a client that uses asyncio's streams, the reader's own buffer tells exactly.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, PeerState
from tcpclient_testing.aio.sockets.polling import TICK, Poller

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["PAUSE_BEFORE_RESET", "DeliveryWait"]

__unittest = True

# Iterations of the loop that are enough for a client in it to get data from its transport to its code. A protocol and a
# plain read take two, wait_for and queues three.
_TURNS = 10
# Seconds to wait: where the kernel can't be asked; and for a loop in another thread, between its socket and its code.
_PAUSE = 0.005
#: The same before a reset: what the client has not read by then is lost on Windows.
PAUSE_BEFORE_RESET = 0.05 if sys.platform == "win32" else _PAUSE
_ELSEWHERE = 0.001


class DeliveryWait:
    """Waits until the client of one connection has taken what was sent.

    `probe` is None where the kernel can't be asked: then `pause` is waited for, in seconds.
    """

    __slots__ = ("_link", "_local", "_probe", "_poller", "_callback", "_bound", "_clear_at", "_clear",
                 "_pause")

    def __init__(self, link: Link, probe: Optional[PeerProbe], *, pause: float = _PAUSE) -> None:
        self._link = link
        self._pause = pause
        assert link.transport is not None
        local, peer = link.transport.get_extra_info("sockname"), link.peername
        self._local: Any = local
        self._probe = probe if all(isinstance(name, tuple) and len(name) >= 2 for name in (local, peer)) else None
        self._poller = Poller(link.loop, self._try, eager=40, longest=0.02)
        self._callback: Callable[[bool], None] = lambda _: None
        self._bound = self._clear_at = 0.0
        self._clear = 0

    @property
    def waiting(self) -> bool:
        """Whether a wait is in progress."""
        return self._poller.waiting

    def wait(self, bound: float, callback: Callable[[bool], None]) -> None:
        """Call `callback` with True when the client has taken everything, or with False after `bound` seconds."""
        self._callback = callback
        self._bound = bound
        self._clear = 0
        self._poller.begin()

    def arrived(self) -> bool:
        """Whether everything that was sent is certainly in the client's kernel; False where that is unknown."""
        state = self._look()
        return state is not None and state.bytes_received is not None and self._arrived(state.bytes_received)

    def cancel(self) -> None:
        """Stop waiting, without calling the callback."""
        self._poller.cancel()

    def _try(self) -> None:
        if self._taken():
            self._callback(True)
        elif self._poller.lasted >= self._bound:
            self._callback(False)
        else:
            self._poller.again()

    def _taken(self) -> bool:
        now = self._link.loop.time()
        if self._probe is not None:
            state = self._look()
            if state is None or state.closed:
                return True
            # The kernel reads `unread` before `bytes_received`. So an `unread` of 0 is reliable only in a query that
            # comes after one that found everything arrived: never in the first one.
            if not self._arrived(state.bytes_received) or state.unread or not self._poller.count:
                self._clear = 0
                return False
        elif self._poller.lasted < self._pause:
            return False
        self._clear += 1
        if self._clear == 1:
            self._clear_at = now
        return self._reached_client_code(now)

    def _arrived(self, received: Optional[int]) -> bool:
        link = self._link  # the same as Link.on_the_wire, inlined because it runs at every poll
        return received is None or received >= getattr(link.transport, "on_the_wire", link.written)

    def _reached_client_code(self, now: float) -> bool:
        """Whether the data has come from the kernel to the client's own code, as far as that can be seen."""
        stream = self._link.context.stream_of(self._link.peername)
        if stream is None:
            return self._clear > _TURNS
        # A client that awaits more bytes than there are leaves them in its reader until more come: don't wait for that.
        # Its reader has a waiter then; the one that waited for what has come is gone when that comes.
        if stream.thread_id == originals.get_ident():
            return stream.all_read or stream.reading
        if now - self._clear_at < _ELSEWHERE + TICK:
            return False
        return stream.all_read or (stream.reading and self._clear > _TURNS)

    def _look(self) -> Optional[PeerState]:
        if self._probe is None:
            return None
        try:
            return self._probe.look(self._local, self._link.peername)
        except OSError:
            return None
