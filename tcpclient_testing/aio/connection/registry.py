"""The accepted connections of one server, by number, and what is done with all of them at once.

    accepted --registered--> known to the engine --leave--> forgotten; only the splits of its stream are kept

`by_number` has the connections that the engine knows, by their numbers, which count from 1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.wording import address_text

from .protocol import ConnectionProtocol

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link, ServerContext
    from tcpclient_testing.network.conditions import Network

__all__ = ["Connections"]

__unittest = True


class Connections:
    """The connections of one server. `network`: conditions of those that are accepted from now on; None for none."""

    def __init__(self, context: ServerContext, network: Optional[Network]) -> None:
        self._context = context
        self._network = network
        self.by_number: dict[int, ConnectionProtocol] = {}
        self._registering = self._register  # one method object for all connections
        self._splits: dict[int, tuple[int, ...]] = {}  # of connections that are forgotten

    def accept(self, buffer: memoryview, peername: Any) -> ConnectionProtocol:
        """Make the protocol of an accepted client, which is registered when it is connected."""
        return ConnectionProtocol(self._context, buffer, peername, self._registering)

    def _register(self, protocol: ConnectionProtocol) -> None:
        """Let the engine know a connection that is ready."""
        context, link = self._context, protocol.link
        session, now = context.session, link.loop.time()
        position = session.environment.accepted
        context.transcript.connected(now, position + 1, address_text(link.peername))
        conversation = session.connections.reserve(position)
        link.begin(conversation)
        self.by_number[conversation.number] = protocol
        context.address_taken(conversation, link.peername)
        if self._network is not None:
            protocol.sending.set_network(self._network)
        session.connected(now, link.peername)

    def set_network(self, network: Optional[Network]) -> None:
        """Set the network conditions of connections that are accepted from now on; None for no conditions."""
        self._network = network

    def links(self) -> list[Link]:
        """Return the links of all connections."""
        return [protocol.link for protocol in list(self.by_number.values())]

    def link_of(self, number: int) -> Optional[Link]:
        """Return the link of a connection; None if the engine doesn't know it, or it is forgotten."""
        protocol = self.by_number.get(number)
        return None if protocol is None else protocol.link

    def splits_of(self, number: int) -> tuple[int, ...]:
        """Return the offsets at which the outgoing stream of a connection was certainly split."""
        known = self.by_number.get(number)
        return self._splits.get(number, ()) if known is None else known.sending.splits

    @property
    def in_doubt(self) -> bool:
        """Whether it is not known yet how some client ended its stream. That takes a moment at most."""
        return any(protocol.client_end.in_doubt for protocol in self.by_number.values())

    def leave(self) -> None:
        """Close every connection, because the server's context is left."""
        for number, protocol in list(self.by_number.items()):
            if protocol.link.lost:
                protocol.link.leave()
            else:
                protocol.closing.leave()
            if protocol.sending.splits:
                self._splits[number] = protocol.sending.splits
        self.by_number.clear()

    def abandon(self) -> None:
        """In a forked child, or after the loop: close our copies of the descriptors, and do nothing else."""
        for protocol in self.by_number.values():
            protocol.abandon()
