"""One accepted connection: asyncio's transport on one side, the engine's conversation on the other.

    accepted -> connection_made -> [buffer_updated*] -> [eof_received] -> connection_lost

It receives what the transport calls, and passes it to the part that it is for. Received bytes are checked against the
script in the transport's callback, while they are still in the buffer that all connections of a loop share.

Each part gets the connection's `Link`, and at most the parts made before it. They are `ClientEnd`, `Sending`, and, made
when they are first needed, `Closing`, `Reading`, `EarlyInput` and `Uptake`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

from tcpclient_testing.aio.context import Link, ServerContext
from tcpclient_testing.aio.sockets.remains import read_remains

from . import reading
from .client_end import ClientEnd
from .closing import Closing
from .reading import Reading
from .sending import Sending

if TYPE_CHECKING:
    from .early_input import EarlyInput
    from .uptake import Uptake

__all__ = ["ConnectionProtocol"]

__unittest = True


class ConnectionProtocol(asyncio.BufferedProtocol):
    """The adapter between a transport and a conversation.

    `buffer` is where bytes are received. `register` is called with the protocol when it is connected: it lets the
    engine know the connection.
    """

    __slots__ = ("link", "client_end", "sending", "_reading", "_closing", "_early_input", "_uptake", "_context",
                 "_register")

    def __init__(self, context: ServerContext, buffer: memoryview, peername: Any,
                 register: Callable[[ConnectionProtocol], None]) -> None:
        self.link = link = Link(context, buffer, peername)
        self.client_end = ClientEnd(link)
        self.sending = Sending(link, self.client_end)
        self._reading: Optional[Reading] = None
        self._closing: Optional[Closing] = None
        self._early_input: Optional[EarlyInput] = None
        self._uptake: Optional[Uptake] = None
        self._context = context
        self._register = register

    @property
    def reading(self) -> Reading:
        """The part that pauses and resumes reading."""
        if self._reading is None:
            self._reading = Reading(self.link)
        return self._reading

    @property
    def closing(self) -> Closing:
        """The part that ends the connection from the server's side."""
        if self._closing is None:
            self._closing = Closing(self.link, self.sending)
        return self._closing

    @property
    def early_input(self) -> EarlyInput:
        """The part that looks for what the client sends before it is answered."""
        if self._early_input is None:
            from .early_input import EarlyInput
            self._early_input = EarlyInput(self.link)
        return self._early_input

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        opened = cast(asyncio.Transport, transport)
        self.link.opened(opened)
        opened.set_write_buffer_limits(high=0)
        if self._context.environment.over:
            self.link.abort()
            return
        self._register(self)
        self._context.perform()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.link.buffer

    def buffer_updated(self, nbytes: int) -> None:
        link, context = self.link, self._context
        now, conversation = link.loop.time(), link.conversation
        data = link.buffer[:nbytes]
        context.transcript.received(now, conversation.number, data)
        conversation.received(now, data)
        if conversation.inbox.kept > reading.MOST_KEPT:
            self.reading.hold_back()
        if context.commands:
            context.perform()

    def eof_received(self) -> bool:
        return self.client_end.ended("the client ended its stream")

    def pause_writing(self) -> None:
        self.link.pause_writing()

    def resume_writing(self) -> None:
        self.link.resume_writing()
        self.sending.resume()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        link, conversation = self.link, self.link.conversation
        in_doubt = exc is not None and self.client_end.in_doubt
        if isinstance(exc, OSError) and link.reads and link.transport is not None:
            read_remains(link.transport, self)
        link.lose()
        if conversation is None or link.left:
            return
        if isinstance(exc, OSError) and not conversation.inbox.closed:
            link.note("reset by the client")
            conversation.inbox.close()
            # EPIPE means that a FIN came before the RST (Linux). A RST alone is first reported as ECONNRESET.
            conversation.was_reset(link.loop.time(), sent=link.written,
                                   after_fin=in_doubt or link.ended_at_last or isinstance(exc, BrokenPipeError))
        conversation.inbox.close()
        self._context.perform()

    # What the server calls.

    def reset(self, why: str) -> None:
        """Send a RST at once, because the script has failed. `why` goes into the transcript."""
        if self.link.paused:
            self.sending.tell_untaken()
        self.link.reset(why)

    def start_tls(self, context: Any, begun: bytes, *, starttls: bool) -> None:
        """Put TLS between the transport and the conversation.

        `begun` is what the client has already sent of its handshake. `starttls` is true if the connection was in clear
        before.
        """
        from tcpclient_testing.aio.tls.layer import TLSLayer
        link = self.link
        raw = link.transport
        if raw is None or link.lost:
            return
        layer = TLSLayer(self, link, raw, context, self.client_end.ended, starttls=starttls)
        raw.set_protocol(layer)
        link.opened(layer)
        if begun:
            layer.begin(begun)

    def measure(self) -> None:
        """Report to the conversation how much of what was sent the operating system has taken, and the client read."""
        link = self.link
        if link.lost:
            return
        if link.conversation.outbox.unread:
            if self._uptake is None:
                from .uptake import Uptake
                self._uptake = Uptake(link)
            self._uptake.look()
        if link.paused:
            self.sending.measure()
            return
        in_doubt = self.client_end.in_doubt
        if in_doubt or self.sending.held_back or (self._closing is not None and self._closing.waiting) \
                or (self._early_input is not None and self._early_input.looking):
            # We make the client wait: report progress of 0 bytes, so that no time-out counts against it.
            now = link.loop.time()
            link.conversation.progressed(now, 0)
            if in_doubt:
                link.conversation.inbox.touch(now)

    def abandon(self) -> None:
        """In a forked child: close our copy of the descriptor, and do nothing else."""
        transport = self.link.transport
        raw = None if transport is None else transport.get_extra_info("socket")
        raw = getattr(raw, "_sock", raw)  # asyncio gives a TransportSocket, which has no close()
        if raw is not None:
            raw.close()
