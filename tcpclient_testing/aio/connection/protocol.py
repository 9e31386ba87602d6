"""One accepted connection: asyncio's transport on one side, the engine's conversation on the other.

    accepted -> connection_made -> [buffer_updated*] -> [eof_received] -> connection_lost

Received bytes are checked against the script in the transport's callback, while they are still in the buffer that all
connections of a loop share. This module also finds out how the client's stream ended. `Sending` does the sending.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

from tcpclient_testing.aio.sockets.listening import LINGER_RESET
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.events import Event, HalfClosed, Received, Reset

from .sending import Sending

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.aio.tls.close_notify import DelayedCloseNotify

    from .client_resets import ResetCheck, ResetWatch
    from .delivery import DeliveryWait
    from .pacing import Pacer

__all__ = ["ConnectionProtocol"]

__unittest = True

_LOOK = 0.001  # seconds between two polls

# At most this many pending bytes are kept (received, but not taken by a step yet); then the client has to wait.
_MOST_KEPT = 16 * 1024 * 1024

_READING = 0.2  # seconds: at most this long a reset waits for the client to read what was sent


class ConnectionProtocol(Sending, asyncio.BufferedProtocol):
    """The adapter between a transport and a conversation."""

    __slots__ = ("peername", "buffer", "draining", "left", "stopped", "buffer_full", "achieved", "reset_check",
                 "reset_watch", "delayed_close_notify")

    def __init__(self, runtime: Runtime, buffer: memoryview, peername: Any) -> None:
        self.runtime = runtime
        self.loop = runtime.loop
        self.buffer = buffer
        self.peername = peername
        self.conversation: Conversation = cast(Conversation, None)  # until connection_made
        self.transport: Optional[asyncio.Transport] = None
        self.outgoing: deque[memoryview] = deque()
        self.paused = False
        self.slice = 0
        self.draining = False
        self.lost = False
        self.left = False
        self.stopped = False
        self.buffer_full = False
        self.pacer: Optional[Pacer] = None
        self.written = 0
        self.achieved: list[int] = []
        self.delivery: Optional[DeliveryWait] = None
        #: The value of `on_the_wire` after the script's last send: the client has to read up to that byte. Bytes after
        #: it (heartbeats, session tickets of TLS) belong to no step.
        self.script_bytes_end = 0
        self.reset_check: Optional[ResetCheck] = None
        self.reset_watch: Optional[ResetWatch] = None
        self.delayed_close_notify: Optional[DelayedCloseNotify] = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)
        runtime = self.runtime
        if runtime.session.over:
            self.abort()
            return
        self.conversation = runtime.attached(self, self.loop.time())
        runtime.perform()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        runtime, now = self.runtime, self.loop.time()
        data = self.buffer[:nbytes]
        conversation = self.conversation
        runtime.transcript.received(now, conversation.number, data)
        conversation.receive(Received(now, data))
        if conversation.kept > _MOST_KEPT:
            self.hold_back()
        if runtime.session.commands:
            runtime.perform()

    def hold_back(self) -> None:
        """Stop reading while more than `_MOST_KEPT` bytes are pending: TCP's flow control makes the client wait."""
        conversation, transport = self.conversation, self.transport
        if self.runtime.session.over or self.lost or transport is None:
            return
        conversation.kept = sum(map(len, conversation.pending))
        buffer_full = conversation.kept > _MOST_KEPT
        if buffer_full != self.buffer_full:
            self.buffer_full = buffer_full
            if not self.stopped:
                (transport.pause_reading if buffer_full else transport.resume_reading)()
        if buffer_full:
            self.loop.call_later(_LOOK, self.hold_back)

    def eof_received(self) -> bool:
        return self.stream_ended("the client ended its stream")

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        self.lost = True
        in_doubt = self.in_doubt
        self.outgoing.clear()
        for waiting in (self.pacer, self.delivery, self.reset_check, self.reset_watch, self.delayed_close_notify):
            if waiting is not None:
                waiting.cancel()
        conversation = self.conversation
        if conversation is None or self.left:
            return
        if isinstance(exc, OSError) and not conversation.closed:
            now = self.loop.time()
            self.note("reset by the client")
            conversation.closed = True
            # EPIPE means that a FIN came before the RST (Linux). A RST alone is first reported as ECONNRESET.
            conversation.receive(Reset(now, after_fin=in_doubt or isinstance(exc, BrokenPipeError)))
        conversation.closed = True
        self.runtime.perform()

    # What the TLS layer between transport and conversation calls, if there is one. eof_received uses it, too.

    def stream_ended(self, how: str) -> bool:
        """The client has ended its stream. Return whether our side stays open, as `eof_received()` does."""
        self.note(how)
        if self._sends_script:
            self.script_bytes_end = self.on_the_wire
        if self._judge_end(self._tell_end):
            return True
        if self.draining:
            return False
        return self.transport is not None and self.transport.can_write_eof()

    def _tell_end(self, reset: bool) -> None:
        if reset:
            self._found_reset()
        self.tell(Reset(self.loop.time(), after_fin=True) if reset else HalfClosed(self.loop.time()))
        if self.draining and self.transport is not None:
            self.transport.close()

    def _found_reset(self) -> None:
        """Note that the end of the client's stream was a reset, and abort the transport, which has not noticed it."""
        self.note("reset by the client")
        self.conversation.closed = True
        if self.transport is not None:
            self.transport.abort()

    def watch_reset(self) -> None:
        """The client's stream has ended. Watch for the reset that the script expects, and report it to the engine."""
        if self.transport is not None and not self.over and not self.transport.is_closing():
            from .client_resets import ResetWatch
            self.reset_watch = ResetWatch(self, self.transport)

    def reset_came(self) -> None:
        """Report to the engine that the client has reset the connection."""
        self._found_reset()
        self.tell(Reset(self.loop.time()))

    def no_reset_comes(self) -> None:
        """Close, and report to the engine that the client has closed the connection without a reset."""
        self.close()
        self.tell(HalfClosed(self.loop.time()))

    def _judge_end(self, then: Callable[[bool], None]) -> bool:
        """Find out whether the client, whose stream has ended, reset the connection with the script's bytes unread.

        Call `then` with the answer. Return True if the answer is not known yet: then `then` is called later.
        """
        known: Optional[bool] = False
        if self.script_bytes_end and not self.over and not self.conversation.cut_off:
            from .client_resets import ResetCheck
            self.reset_check = ResetCheck(self)
            known = self.reset_check.known()
            if known is None:
                self.reset_check.wait(then)
                return True
        then(bool(known))
        return False

    @property
    def in_doubt(self) -> bool:
        """Whether the client's stream has ended, and it is not known yet whether that was a reset."""
        return self.reset_check is not None and self.reset_check.waiting

    @property
    def over(self) -> bool:
        """Whether it no longer matters what the client does."""
        return self.lost or self.left or self.conversation.closed or self.runtime.session.over

    def tell(self, event: Event) -> None:
        """Pass an event to the conversation, and carry out the commands that result."""
        self.conversation.receive(event)
        self.runtime.perform()

    # What the server calls to carry out a command. `Sending` has those that write.

    def start_tls(self, context: Any, begun: bytes, *, starttls: bool) -> None:
        """Put TLS between the transport and the conversation.

        `begun` is what the client has already sent of its handshake. `starttls` is true if the connection was in clear
        before.
        """
        from tcpclient_testing.aio.tls.layer import TLSLayer
        if self.transport is None or self.lost:
            return
        layer = TLSLayer(self, self.transport, context, starttls=starttls)
        self.transport.set_protocol(layer)
        self.transport = layer
        if begun:
            layer.begin(begun)

    def half_close(self, drain: bool) -> None:
        """End our stream. With `drain`, also close the connection when the client has ended its own stream."""
        assert self.transport is not None
        self.draining = drain
        self.note("disconnected by the server" if drain else "half-closed by the server")
        if drain and self.conversation.ended:
            self.close()
        elif self.transport.can_write_eof():
            if drain and self.conversation.tls is not None:
                from tcpclient_testing.aio.tls.close_notify import delay_close_notify
                self.delayed_close_notify = delay_close_notify(self)
            if self.delayed_close_notify is None:
                self.write_eof()
        elif drain:
            self.transport.close()
        self.flushed()

    def write_eof(self) -> None:
        """End our stream now."""
        assert self.transport is not None
        try:
            self.transport.write_eof()
        except OSError:
            pass  # the client has just reset the connection: connection_lost() reports that

    @property
    def eof_written(self) -> bool:
        """Whether our stream has ended: a FIN was sent."""
        delayed = self.delayed_close_notify
        return (self.draining and (delayed is None or not delayed.waiting)) or self.conversation.silenced

    def close(self) -> None:
        """Close without a reset. Call this only when nothing is unread: else the close is a reset."""
        self.conversation.closed = True
        if self.transport is not None:
            self.transport.close()

    def reset(self, why: str) -> None:
        """Send a RST at once. `why` goes into the transcript."""
        if not self.conversation.closed and not self.lost:
            self.note(why)
        self.conversation.closed = True
        self.abort()

    def reset_when_taken(self) -> None:
        """Send a RST as soon as the client has taken what was sent, and report that to the engine.

        After a RST a client can still read what its kernel holds. But asyncio's streams drop what they have already
        read when the connection is lost. So wait until the client itself has the bytes (at most 0.2 s), not only its
        kernel.
        """
        from tcpclient_testing.aio.sockets.inet_diag import unacknowledged

        from .delivery import DeliveryWait
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        if raw is None or self.lost or not self.written:
            self._reset_now()
            return
        self.delivery = DeliveryWait(self, self.runtime.probe())
        # The acknowledgement may be 40 ms late. A virtual clock that jumps from poll to poll counts seconds by then.
        if unacknowledged(raw) and not self.delivery.arrived():
            self.loop.call_later(_LOOK, self.reset_when_taken)
        else:
            self.delivery.wait(_READING, lambda _: self._reset_now())

    def _reset_now(self) -> None:
        self.reset("reset by the server")
        if not self.left:
            self.flushed()
            self.runtime.perform()

    def pause_reading(self) -> None:
        """Stop reading from the client."""
        if self.transport is not None and not self.lost and not self.conversation.ended:
            self.stopped = True
            self.transport.pause_reading()
            # Up to Python 3.10 a transport starts to read one turn after connection_made(), even if it was paused:
            # pause it again then.
            self.loop.call_soon(self._stay_paused)
            self.note("stopped reading")

    def _stay_paused(self) -> None:
        if self.stopped and self.transport is not None and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read from the client again."""
        if self.transport is not None and not self.lost and self.stopped:
            self.stopped = False
            if not self.buffer_full:
                self.transport.resume_reading()
            self.note("reads again")

    def all_read(self) -> bool:
        """Return whether the client has read all that was sent: only then does it lose nothing when we close.

        Once we have closed, our system answers anything that the client sends with a RST. The client's system may
        then throw away what is unread (Linux keeps it).
        """
        if self.transport is None or self.lost:
            return True
        local, peer = self.transport.get_extra_info("sockname"), self.transport.get_extra_info("peername")
        if not (isinstance(local, tuple) and isinstance(peer, tuple)):
            return False
        from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, unacknowledged
        with PeerProbe() as probe:
            try:
                state = probe.look(local, peer)
            except OSError:
                return False  # the kernel can't be asked here
        # Our FIN counts as one unread byte.
        return state is None or state.closed or (state.unread <= 1 and not unacknowledged(
            self.transport.get_extra_info("socket")))

    def leave(self) -> None:
        """The server's context is left: close the connection, in order if the client's stream has ended."""
        self.left = True
        if self.transport is None or self.lost:
            return
        if self.delayed_close_notify is not None:
            self.delayed_close_notify.end_stream_now()
        if self.conversation is not None and (self.conversation.ended or self.conversation.closed):
            self.transport.close()
        self.transport.abort()

    def abort(self) -> None:
        """Abort the transport with a RST (SO_LINGER with a time of 0, socket(7))."""
        if self.transport is None or self.lost:
            return
        if self.paused:
            self._tell_untaken()
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            try:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            except (OSError, ValueError):
                pass  # closed already
        self.transport.abort()

    def abandon(self) -> None:
        """In a forked child: close our copy of the descriptor, and do nothing else."""
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        raw = getattr(raw, "_sock", raw)  # asyncio gives a TransportSocket, which has no close()
        if raw is not None:
            raw.close()

    def note(self, text: str) -> None:
        """Add a note to the transcript: what happened on this connection."""
        self.runtime.transcript.note(self.loop.time(), self.conversation.number, text)
