"""Decides whether the end of a client's stream is a reset, because the client has closed with data unread.

The client's kernel sends a RST, behind its FIN or instead of it, in two cases (RFC 1122, 4.2.2.13):

- the client closes while data is unread
- data arrives after the client has closed

Whether the FIN or the server's reply comes first is a race, which says nothing about the client. And asyncio no longer
watches a socket that has seen a FIN. So if the script sends something before or after the client's end, ask the kernel,
and report the end to the engine only when the result is known:

    SO_ERROR is set                                     reset (Linux: EPIPE, because the FIN came first)
    the client's socket is gone or closed, and
        some of the script's data is unacknowledged     a RST is under way: wait for it
        all is acknowledged, nothing is unread          closed properly
    the client can still read, and
        has taken everything                            half-closed, and still reading
        has not taken everything                        wait a moment: it may be about to close

A client need not wait for data that belongs to no step (heartbeats), or for session tickets of TLS. A reset that only
answers these does not count as a reset.

Limit. When both streams have ended, no RST comes any more (RFC 9293, 3.10.7.1). So this case can't be detected: the
client shuts its socket down in both directions, with data unread, when it may already have received the server's end
of stream.

`ResetWatch` watches for a reset by a client that has already ended its stream. A client that half-closes can still
reset the connection: by closing with unread data (RFC 1122, 4.2.2.13), or with SO_LINGER of 0 (socket(7)).

After a FIN asyncio no longer watches the socket, which is readable for ever. But an epoll that is registered for no
events still reports errors and hang-ups (epoll_ctl(2)), and the loop can watch its descriptor like any other. Without
epoll, poll the socket for its error.

    watching --the kernel has an error, or a hang-up--> reset, or (a Unix-domain socket) closed
        `--the connection is lost--> cancelled
"""

from __future__ import annotations

import asyncio
import socket
import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.sockets.inet_diag import PeerState, on_this_machine, unacknowledged
from tcpclient_testing.aio.sockets.polling import Poller

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["ResetCheck", "ResetWatch"]

__unittest = True

# Time limits in seconds: if a RST is certain to come; if the client can still read; if the kernel can't be asked. Then
# each client that ends its stream is waited for.
_CERTAIN, _POSSIBLE, _BLIND = 1.0, 0.1, 0.02


class ResetCheck:
    """Finds out whether the client of one connection, whose stream has ended, has reset it."""

    __slots__ = ("_link", "_transport", "_raw", "_local", "_peer", "_bound", "_poller", "_then")

    def __init__(self, link: Link) -> None:
        transport = link.transport
        assert transport is not None
        self._link = link
        self._transport = transport
        self._raw: Any = transport.get_extra_info("socket")
        self._local: Any = transport.get_extra_info("sockname")
        self._peer: Any = link.peername
        self._bound = 0.0
        self._poller = Poller(link.loop, self._try)
        self._then: Callable[[bool], None] = lambda _: None

    @property
    def waiting(self) -> bool:
        """Whether the result is still being waited for."""
        return self._poller.waiting

    def known(self) -> Optional[bool]:
        """Whether the client has reset the connection; None if it is too early to know: then call `wait`."""
        if self._transport.is_closing():
            return True  # not closed by us: a write has failed
        if self._raw is None or not isinstance(self._peer, tuple):
            return False  # on a Unix-domain socket, a failing write shows it
        try:
            error = self._raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except (OSError, ValueError, AttributeError):
            return False  # closed meanwhile
        left, link = unacknowledged(self._raw), self._link
        own = left
        if left is not None:
            ended = link.eof_written
            own = max(0, left - (link.on_the_wire - link.script_bytes_end) - ended)
            if error:
                return bool(own) or not left
            if ended and not own:
                return False  # both streams have ended: no RST comes any more
        return bool(error) or self._alive(own)

    def _alive(self, own: Optional[int]) -> Optional[bool]:
        """No RST has come yet. False: none will come. None: it may come; `_bound` is the time limit in seconds."""
        context = self._link.context
        stream = context.stream_of(self._peer)
        if own == 0 and stream is not None and stream.connection_lost:
            return False  # asyncio's streams close in one go: with data unread, there would be a RST instead of the FIN
        probe = context.probe() if on_this_machine(self._local, self._peer) else None
        try:
            state = None if probe is None else probe.look(self._local, self._peer)
            if probe is not None and state is not None and not state.closed:
                state = probe.look(self._local, self._peer)  # an `unread` of 0 is exact only in a second look
        except OSError:
            probe = None
        if probe is None:
            self._bound = _POSSIBLE if own else _BLIND
            return None
        if state is None or state.closed:
            self._bound = _POSSIBLE if own == 0 else _CERTAIN
            return False if own == 0 and state is not None and not self._unread(state) else None
        self._bound = _POSSIBLE
        return False if not self._unread(state) and self._arrived(state) else None

    def _unread(self, state: PeerState) -> bool:
        # Our FIN counts as one byte.
        return state.unread > self._link.eof_written

    def _arrived(self, state: PeerState) -> bool:
        return state.bytes_received is None or state.bytes_received >= self._link.on_the_wire

    def wait(self, then: Callable[[bool], None]) -> None:
        """Call `then` with the result as soon as it is known, or with False after the time limit."""
        self._then = then
        self._poller.begin()

    def cancel(self) -> None:
        """Stop waiting, and don't call `then`."""
        self._poller.cancel()

    def _try(self) -> None:
        if self._link.over:
            return
        known = self.known()
        if known is None and self._poller.lasted < self._bound:
            self._poller.again()
        else:
            self._then(bool(known))
            self._link.context.perform()


class ResetWatch:
    """Calls `then` with True when the client has reset the connection, with False when it has closed it.

    No reset can follow a close.
    """

    __slots__ = ("_link", "_then", "_raw", "_poll", "_poller")

    def __init__(self, link: Link, transport: asyncio.Transport, then: Callable[[bool], None]) -> None:
        self._link = link
        self._then = then
        self._raw: Any = transport.get_extra_info("socket")
        self._poll: Any = None
        self._poller = Poller(link.loop, self._look, longest=0.05)
        if sys.platform == "linux":
            try:
                self._poll = originals.epoll()
                self._poll.register(self._raw.fileno(), 0)
                link.loop.add_reader(self._poll.fileno(), self._look)
                return
            except OSError:  # too many descriptors are open: poll instead
                if self._poll is not None:
                    self._poll.close()
                    self._poll = None
        self._poller.begin()

    def cancel(self) -> None:
        """Stop watching, and report nothing."""
        self._poller.cancel()
        if self._poll is not None:
            self._link.loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def _look(self) -> None:
        link, woken = self._link, self._poll is not None
        if link.over:
            self.cancel()
            return
        try:
            error = bool(self._raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        except (OSError, ValueError, AttributeError):
            error = False
        if not (error or woken):
            self._poller.again()
            return
        self.cancel()
        # The server's side is still open, so that a hang-up means a RST, except on a Unix-domain socket.
        self._then(error or isinstance(link.peername, tuple))
