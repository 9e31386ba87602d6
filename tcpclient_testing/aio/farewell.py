"""The end of the server's stream over TLS, which waits until the client has taken the reply.

A close_notify is data, as far as the kernel is concerned: a client that has read the whole reply, and closes without
having read that, resets the connection just as one that has read nothing does (RFC 1122, 4.2.2.13), and the RST says
nothing of it. So the close_notify goes out when nothing else is unread: what resets the connection before is the reply.

    waiting --the client has taken everything, or some time has passed--> said
        `--the connection is lost--> cancelled
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from .inet_diag import on_this_machine
from .looking import Looks

if TYPE_CHECKING:
    from .connection import ConnectionProtocol
    from .inet_diag import PeerProbe

__all__ = ["Farewell", "farewell_of"]

__unittest = True

# How long a client may take to read the reply (seconds); after that, its reset may mean the one or the other.
_BOUND = 1.0


def farewell_of(protocol: ConnectionProtocol) -> Optional[Farewell]:
    """Begin to wait with the end of the server's stream; None where there is nothing to tell apart, or no way to."""
    conversation, transport = protocol.conversation, protocol.transport
    assert transport is not None
    if conversation.tls is None or conversation.cut_off or not protocol.owed or protocol.owed != protocol.on_the_wire:
        return None
    if not on_this_machine(transport.get_extra_info("sockname"), protocol.peername):
        return None
    probe = protocol.runtime.probe()
    return None if probe is None else Farewell(protocol, probe)


class Farewell:
    """Ends the server's stream on one connection, when it is time."""

    __slots__ = ("_protocol", "_probe", "_local", "_looks")

    def __init__(self, protocol: ConnectionProtocol, probe: PeerProbe) -> None:
        assert protocol.transport is not None
        self._protocol = protocol
        self._probe = probe
        self._local: Any = protocol.transport.get_extra_info("sockname")
        self._looks = Looks(protocol.loop, self._try)
        self._withhold(True)
        self._looks.begin()

    @property
    def waiting(self) -> bool:
        """Whether the server's stream has not ended yet."""
        return self._looks.waiting

    def cancel(self) -> None:
        """Say nothing any more: there is nobody left."""
        self._looks.cancel()

    def say_now(self) -> None:
        """End the stream, wait no longer: the server is left."""
        if self.waiting:
            self.cancel()
            self._withhold(False)
            self._protocol.write_eof()

    def _withhold(self, withheld: bool) -> None:
        tls = self._protocol.conversation.tls
        assert tls is not None
        tls.withheld = withheld

    def _try(self) -> None:
        protocol = self._protocol
        transport = protocol.transport
        if protocol.over or transport is None or transport.is_closing():
            return
        self._looks.again()
        if self._taken() or self._looks.lasted >= _BOUND:
            self.say_now()

    def _taken(self) -> bool:
        """Whether the client has taken everything, and is still there to take more."""
        protocol, probe = self._protocol, self._probe
        try:
            state = probe.look(self._local, protocol.peername)
            # Only the 0 of a look after the one that found everything there can be believed.
            if state is None or (state.bytes_received or 0) < protocol.on_the_wire:
                return False  # if it has gone, its end is about to be heard of
            state = probe.look(self._local, protocol.peername)
        except OSError:
            return True  # nothing tells
        return state is not None and not state.closed and not state.unread
