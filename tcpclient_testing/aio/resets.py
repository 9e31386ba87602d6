"""Whether the end of a client's stream was a close with something unread: then a RST comes behind its FIN, or instead.

A client's system answers what it gets after the close, and a close with data unread, with a RST (RFC 1122, 4.2.2.13).
Which of both comes first, the FIN or the server's reply, is a race that says nothing about the client; and asyncio
does not look at a socket any more that has seen a FIN. So when the end comes after, or before, something that the
script sent, the kernel is asked how it stands, and the engine is told the end only when that is known:

    SO_ERROR is set                                     reset (Linux: EPIPE, since the FIN was there before)
    the client's socket is gone, or it is closed, and
        something of the script's is not acknowledged   a RST is under way: wait for it
        all is acknowledged, nothing is unread          closed properly
    it can still read, and has taken everything         half-closed, and reading on
    it can still read, and has not                      wait a moment: it may be about to close

What is sent beside the script (heartbeats) and a session ticket of TLS are nothing that a client has to wait for: a
reset that only answers them is not held against it.

Limit. When both streams have ended, no RST comes any more (RFC 9293, 3.10.7.1): of a client that shuts its socket down
in both directions, with something unread, when it may have got the server's own end already, nothing tells.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any, Callable, Optional

from .inet_diag import PeerState, on_this_machine, unacknowledged
from .looking import Looks

if TYPE_CHECKING:
    from .connection import ConnectionProtocol

__all__ = ["ResetLook"]

__unittest = True

# How long (seconds): for a RST that is certain to come; for a client that can still read; and where nothing tells.
_CERTAIN, _POSSIBLE, _BLIND = 1.0, 0.1, 0.005


class ResetLook:
    """Looks whether the client of one connection, whose stream has ended, has reset it."""

    __slots__ = ("_protocol", "_transport", "_raw", "_local", "_peer", "_bound", "_looks", "_then")

    def __init__(self, protocol: ConnectionProtocol) -> None:
        transport = protocol.transport
        assert transport is not None
        self._protocol = protocol
        self._transport = transport
        self._raw: Any = transport.get_extra_info("socket")
        self._local: Any = transport.get_extra_info("sockname")
        self._peer: Any = protocol.peername
        self._bound = 0.0
        self._looks = Looks(protocol.loop, self._try)
        self._then: Callable[[bool], None] = lambda _: None

    @property
    def waiting(self) -> bool:
        """Whether it is not known yet."""
        return self._looks.waiting

    def known(self) -> Optional[bool]:
        """Whether the client has reset the connection; None if that has to be waited for."""
        if self._transport.is_closing():
            return True  # not by us: writing has failed
        if self._raw is None or not isinstance(self._peer, tuple):
            return False  # a Unix-domain socket tells by failing to write
        try:
            error = self._raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        except (OSError, ValueError, AttributeError):
            return False  # closed meanwhile
        left, protocol = unacknowledged(self._raw), self._protocol
        own = left
        if left is not None:
            ended = protocol.eof_written
            own = max(0, left - (protocol.on_the_wire - protocol.owed) - ended)
            if error:
                return bool(own) or not left
            if ended and not own:
                return False  # both streams have ended: no RST any more
        return bool(error) or self._alive(own)

    def _alive(self, own: Optional[int]) -> Optional[bool]:
        """There is no RST: False if there will be none; else None, and `_bound` says how long it is worth waiting."""
        protocol = self._protocol
        stream = protocol.runtime.stream_of(self._peer)
        if own == 0 and stream is not None and stream.connection_lost:
            return False  # asyncio's streams close in one go: with data unread there would be no FIN
        probe = protocol.runtime.probe() if on_this_machine(self._local, self._peer) else None
        try:
            state = None if probe is None else probe.look(self._local, self._peer)
            if probe is not None and state is not None and not state.closed:
                state = probe.look(self._local, self._peer)  # only the 0 of a second look can be believed
        except OSError:
            probe = None
        if probe is None:
            self._bound = _BLIND if own is None else _POSSIBLE
            return False if own == 0 else None
        if state is None or state.closed:
            self._bound = _POSSIBLE if own == 0 else _CERTAIN
            return False if own == 0 and state is not None and not self._unread(state) else None
        self._bound = _POSSIBLE
        return False if not self._unread(state) and self._arrived(state) else None

    def _unread(self, state: PeerState) -> bool:
        # Our FIN counts as a byte.
        return state.unread > self._protocol.eof_written

    def _arrived(self, state: PeerState) -> bool:
        return state.bytes_received is None or state.bytes_received >= self._protocol.on_the_wire

    def wait(self, then: Callable[[bool], None]) -> None:
        """Call `then` when it is known; with False, too, when it has been waited for long enough."""
        self._then = then
        self._looks.begin()

    def cancel(self) -> None:
        """Wait no more, and call nobody."""
        self._looks.cancel()

    def _try(self) -> None:
        if self._protocol.over:
            return
        known = self.known()
        if known is None and self._looks.lasted < self._bound:
            self._looks.again()
        else:
            self._then(bool(known))
            self._protocol.runtime.perform()
