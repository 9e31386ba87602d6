"""One accepted connection: asyncio's transport on one side, the engine's conversation on the other.

    accepted -> connection_made -> [buffer_updated*] -> [eof_received] -> connection_lost

What arrives is judged in the transport's callback, in a buffer that all connections of a loop share; how the client's
stream ends is judged here, too. What is sent is the matter of `sending`.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.events import Event, HalfClosed, Received, Reset

from .sending import Sending

if TYPE_CHECKING:
    from .farewell import Farewell
    from .pacing import Pacer
    from .reset_watch import ResetWatch
    from .resets import ResetLook
    from .runtime import Runtime
    from .taking import Taking

__all__ = ["LINGER_NOT", "ConnectionProtocol"]

__unittest = True

_LOOK = 0.001
# So many bytes that no step has claimed are kept (early input); beyond it the client has to wait.
_MOST_KEPT = 16 * 1024 * 1024
_READING = 0.2
#: The value of SO_LINGER with which closing a socket sends a RST (socket(7)).
LINGER_NOT = struct.pack("ii", 1, 0)


class ConnectionProtocol(Sending, asyncio.BufferedProtocol):
    """The adapter between a transport and a conversation."""

    __slots__ = ("peername", "buffer", "draining", "left", "stopped", "crowded", "achieved", "reset_look",
                 "reset_watch", "farewell")

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
        self.crowded = False
        self.pacer: Optional[Pacer] = None
        self.written = 0
        self.achieved: list[int] = []
        self.taking: Optional[Taking] = None
        #: Up to which byte of what is `on_the_wire` the script wants the client to have it.
        self.owed = 0
        self.reset_look: Optional[ResetLook] = None
        self.reset_watch: Optional[ResetWatch] = None
        self.farewell: Optional[Farewell] = None

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
        """Let the client wait, by TCP's own flow control, while much of what it sent is claimed by no step."""
        conversation, transport = self.conversation, self.transport
        if self.runtime.session.over or self.lost or transport is None:
            return
        conversation.kept = sum(map(len, conversation.pending))
        crowded = conversation.kept > _MOST_KEPT
        if crowded != self.crowded:
            self.crowded = crowded
            if not self.stopped:
                (transport.pause_reading if crowded else transport.resume_reading)()
        if crowded:
            self.loop.call_later(_LOOK, self.hold_back)

    def eof_received(self) -> bool:
        return self.stream_ended("the client ended its stream")

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        self.lost = True
        in_doubt = self.in_doubt
        self.outgoing.clear()
        for waiting in (self.pacer, self.taking, self.reset_look, self.reset_watch, self.farewell):
            if waiting is not None:
                waiting.cancel()
        conversation = self.conversation
        if conversation is None or self.left:
            return
        if isinstance(exc, OSError) and not conversation.closed:
            now = self.loop.time()
            self.note("reset by the client")
            conversation.closed = True
            # EPIPE: there was a FIN before (Linux); of a RST alone the first that is heard is ECONNRESET.
            conversation.receive(Reset(now, after_fin=in_doubt or isinstance(exc, BrokenPipeError)))
        conversation.closed = True
        self.runtime.perform()

    # What the TLS between transport and conversation calls, where there is one; eof_received uses it, too.

    def stream_ended(self, how: str) -> bool:
        """The client will send no more; return whether our side stays open."""
        self.note(how)
        if self._sends_script:
            self.owed = self.on_the_wire
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
        """The client's end has turned out to be a reset, which the transport has not noticed."""
        self.note("reset by the client")
        self.conversation.closed = True
        if self.transport is not None:
            self.transport.abort()

    def watch_reset(self) -> None:
        """The client, whose stream has ended, is to reset the connection: tell the engine when it does."""
        if self.transport is not None and not self.over and not self.transport.is_closing():
            from .reset_watch import ResetWatch
            self.reset_watch = ResetWatch(self, self.transport)

    def reset_came(self) -> None:
        """So it has."""
        self._found_reset()
        self.tell(Reset(self.loop.time()))

    def no_reset_comes(self) -> None:
        """The client has closed the connection, and not reset it."""
        self.close()
        self.tell(HalfClosed(self.loop.time()))

    def _judge_end(self, then: Callable[[bool], None]) -> bool:
        """Call `then` with whether the client, whose stream has ended, has reset the connection over what was sent.

        Return whether that has to be waited for.
        """
        known: Optional[bool] = False
        if self.owed and not self.over and not self.conversation.cut_off:
            from .resets import ResetLook
            self.reset_look = ResetLook(self)
            known = self.reset_look.known()
            if known is None:
                self.reset_look.wait(then)
                return True
        then(bool(known))
        return False

    @property
    def in_doubt(self) -> bool:
        """Whether the client's stream has ended, and it is being looked whether that is a reset."""
        return self.reset_look is not None and self.reset_look.waiting

    @property
    def over(self) -> bool:
        """Whether nothing that the client does matters any more."""
        return self.lost or self.left or self.conversation.closed or self.runtime.session.over

    def tell(self, event: Event) -> None:
        """Let the conversation know of an event, and carry out what it wants."""
        self.conversation.receive(event)
        self.runtime.perform()

    # What the server calls, to carry out a command; what it has written is in `Sending`.

    def start_tls(self, context: Any, begun: bytes, *, starttls: bool) -> None:
        """Put TLS between the transport and the conversation; `starttls` says that they spoke in clear before."""
        from .tls_layer import TLSLayer
        if self.transport is None or self.lost:
            return
        layer = TLSLayer(self, self.transport, context, starttls=starttls)
        self.transport.set_protocol(layer)
        self.transport = layer
        if begun:
            layer.begin(begun)

    def half_close(self, drain: bool) -> None:
        """End our stream; with `drain`, close when the client has ended its own."""
        assert self.transport is not None
        self.draining = drain
        self.note("disconnected by the server" if drain else "half-closed by the server")
        if drain and self.conversation.ended:
            self.close()
        elif self.transport.can_write_eof():
            if drain and self.conversation.tls is not None:
                from .farewell import farewell_of
                self.farewell = farewell_of(self)
            if self.farewell is None:
                self.write_eof()
        elif drain:
            self.transport.close()
        self.flushed()

    def write_eof(self) -> None:
        """Let our stream end now."""
        assert self.transport is not None
        try:
            self.transport.write_eof()
        except OSError:
            pass  # the client reset the connection meanwhile: connection_lost will tell

    @property
    def eof_written(self) -> bool:
        """Whether our stream has ended: a FIN is out."""
        return (self.draining and (self.farewell is None or not self.farewell.waiting)) or self.conversation.silenced

    def close(self) -> None:
        """Close without a reset: nothing is unread."""
        self.conversation.closed = True
        if self.transport is not None:
            self.transport.close()

    def reset(self, why: str) -> None:
        """Send a RST, at once."""
        if not self.conversation.closed and not self.lost:
            self.note(why)
        self.conversation.closed = True
        self.abort()

    def reset_when_taken(self) -> None:
        """Send a RST as soon as the client has taken what was sent, and tell the engine.

        What a client's kernel has, the client can still read; but asyncio's streams give up what they have read already
        when the connection is lost. So it is the client that is waited for, a moment, not only its kernel.
        """
        from .inet_diag import unacknowledged
        from .taking import Taking
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        if raw is None or self.lost or not self.written:
            self._reset_now()
            return
        self.taking = Taking(self, self.runtime.probe())
        # The acknowledgement may be 40 ms late, which are seconds of a virtual clock that jumps from look to look.
        if unacknowledged(raw) and not self.taking.arrived():
            self.loop.call_later(_LOOK, self.reset_when_taken)
        else:
            self.taking.wait(_READING, lambda _: self._reset_now())

    def _reset_now(self) -> None:
        self.reset("reset by the server")
        if not self.left:
            self.flushed()
            self.runtime.perform()

    def pause_reading(self) -> None:
        """Take nothing more from the client."""
        if self.transport is not None and not self.lost and not self.conversation.ended:
            self.stopped = True
            self.transport.pause_reading()
            # Until 3.10 a transport begins to read a turn after connection_made, paused or not: pause it again then.
            self.loop.call_soon(self._stay_paused)
            self.note("stopped reading")

    def _stay_paused(self) -> None:
        if self.stopped and self.transport is not None and not self.lost and not self.transport.is_closing():
            self.transport.resume_reading()
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take the client's bytes again."""
        if self.transport is not None and not self.lost and self.stopped:
            self.stopped = False
            if not self.crowded:
                self.transport.resume_reading()
            self.note("reads again")

    def all_read(self) -> bool:
        """Whether the client has read all that was sent: only then is our leaving nothing to it.

        If it sends anything after that, a RST is the answer, and the system that gets one throws away what is unread.
        """
        if self.transport is None or self.lost:
            return True
        local, peer = self.transport.get_extra_info("sockname"), self.transport.get_extra_info("peername")
        if not (isinstance(local, tuple) and isinstance(peer, tuple)):
            return False
        from .inet_diag import PeerProbe, unacknowledged
        with PeerProbe() as probe:
            try:
                state = probe.look(local, peer)
            except OSError:
                return False  # it can't be seen here
        # One byte that is unread is our FIN.
        return state is None or state.closed or (state.unread <= 1 and not unacknowledged(
            self.transport.get_extra_info("socket")))

    def leave(self) -> None:
        """The server is left: close, gently where the client has nothing to lose."""
        self.left = True
        if self.transport is None or self.lost:
            return
        if self.farewell is not None:
            self.farewell.say_now()
        if self.conversation is not None and (self.conversation.ended or self.conversation.closed):
            self.transport.close()
        self.transport.abort()

    def abort(self) -> None:
        """Let the transport go, with a RST (SO_LINGER with a time of 0, socket(7))."""
        if self.transport is None or self.lost:
            return
        if self.paused:
            self._tell_untaken()
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            try:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
            except (OSError, ValueError):
                pass  # closed already
        self.transport.abort()

    def abandon(self) -> None:
        """In a forked child: close our copy of the descriptor, and nothing else."""
        raw = None if self.transport is None else self.transport.get_extra_info("socket")
        raw = getattr(raw, "_sock", raw)  # asyncio lends a TransportSocket, which can't close
        if raw is not None:
            raw.close()

    def note(self, text: str) -> None:
        """Put down what the server did."""
        self.runtime.transcript.note(self.loop.time(), self.conversation.number, text)
