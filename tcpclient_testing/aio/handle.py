"""A connection as users see it: its script, its address, and what passed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.framing import Framing
from tcpclient_testing.engine.script import ScriptMethods
from tcpclient_testing.engine.session import address_text
from tcpclient_testing.engine.steps import Step
from tcpclient_testing.transcript.entries import RECEIVED, SENT

if TYPE_CHECKING:
    from .server import MockTCPServer
    from .tls_layer import TLSInfo

__all__ = ["Connection"]

__unittest = True


class Connection(ScriptMethods):
    """One connection of a `MockTCPServer`, and the handle that writes its script.

    Steps written here wait only for this connection's steps, so that two connections' scripts run side by side. It is
    what ``await server.expect_connect()`` returns; ``server.expect_connect().connection`` gives it before the client
    has connected.
    """

    def __init__(self, server: MockTCPServer, conversation: Conversation) -> None:
        self._server = server
        self._conversation = conversation

    @property
    def index(self) -> int:
        """The position in the order of acceptance, from 0: ``server.connections[index]`` is this connection."""
        return self._conversation.number - 1

    @property
    def peername(self) -> Any:
        """The client's address, ``(host, port)``; None before it has connected."""
        peername = self._conversation.peername
        return peername[:2] if isinstance(peername, tuple) else peername

    @property
    def tls(self) -> Optional[TLSInfo]:
        """What was agreed on in the TLS handshake, such as ``connection.tls.version``; None unless one was done."""
        tls = self._conversation.tls
        info: Optional[TLSInfo] = None if tls is None else tls.info
        return info

    @property
    def received(self) -> bytes:
        """All bytes that the client sent so far. Raises `BufferError` where the transcript has let some go."""
        return self._server.transcript.stream(self._conversation.number, RECEIVED)

    @property
    def sent(self) -> bytes:
        """All bytes that the server sent so far. Raises `BufferError` where the transcript has let some go."""
        return self._server.transcript.stream(self._conversation.number, SENT)

    @property
    def splits(self) -> tuple[int, ...]:
        """Where network conditions have split the outgoing stream for certain: offsets, in rising order.

        At each the client had taken everything before when the next byte was sent. A split that was wanted and isn't
        here was not achieved: the client did not read in time.
        """
        return self._server.splits_of(self._conversation)

    async def join(self) -> None:
        """Wait until every step of this connection is satisfied; raise `ExpectationError` if the script fails."""
        await self._server.join_conversation(self._conversation)

    def _add(self, step: Step[Any]) -> None:
        self._server.add_to(self._conversation, step)

    def _default_framing(self) -> Framing:
        return self._server._default_framing()

    def _default_ending(self) -> bytes:
        return self._server._default_ending()

    def _server_context(self, context: Any) -> Any:
        return self._server._server_context(context)

    def __repr__(self) -> str:
        state = address_text(self._conversation.peername) if self._conversation.accepted else "not connected"
        return f"<{type(self).__name__} {self._conversation.number}: {state}>"
