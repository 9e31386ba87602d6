"""The outgoing half of a connection: writes what the script sends, until the operating system has taken all of it.

    queued (`outgoing`) -> written, a slice at a time -> taken -> [flushed]

Data goes out in slices under the transport's flow control, with a write buffer limit of 0. So "taken by the operating
system" is a fact: `paused` is true from the moment when the system took less than a whole slice until it has taken the
rest of that slice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Callable, Optional, Union

from tcpclient_testing.engine.conversation.events import Flushed, Progressed

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.engine.conversation.conversation import Conversation

    from .delivery import DeliveryWait
    from .pacing import Pacer

__all__ = ["Sending"]

__unittest = True

_SLICE = 256 * 1024


class Sending:
    """The sending part of `ConnectionProtocol`, which sets the attributes to their initial values."""

    __slots__ = ("runtime", "loop", "conversation", "transport", "outgoing", "paused", "slice", "lost", "pacer",
                 "delivery", "written", "script_bytes_end")

    runtime: Runtime
    loop: asyncio.AbstractEventLoop
    conversation: Conversation
    transport: Optional[asyncio.Transport]
    outgoing: deque[memoryview]
    paused: bool
    slice: int
    lost: bool
    pacer: Optional[Pacer]
    delivery: Optional[DeliveryWait]
    written: int
    script_bytes_end: int

    @property
    def in_doubt(self) -> bool:
        """Whether the client's stream has ended, and it is still being checked whether that is a reset."""
        raise NotImplementedError

    def _judge_end(self, then: Callable[[bool], None]) -> bool:
        """Check whether the client's end is a reset, and call `then` with the answer.

        Return True if the answer is not known yet, and `then` is called later.
        """
        raise NotImplementedError

    def _found_reset(self) -> None:
        """Record that the client's end of stream is a reset."""
        raise NotImplementedError

    # What the transport calls.

    def pause_writing(self) -> None:
        self.paused = True

    def resume_writing(self) -> None:
        self.paused = False
        self._tell_untaken()
        now = self.loop.time()
        if self.slice:
            taken, self.slice = self.slice, 0
            self.conversation.receive(Progressed(now, taken))
        if self.pacer is not None:
            self.pacer.pump()
        elif self.outgoing:
            self.pump()
        elif self.conversation.sending or self.conversation.interleaved_under_way:
            self.flushed()  # that was the last slice
        if self.runtime.session.commands:
            # Not from here: asyncio is about to check whether it has to close or half-close, and would do so twice.
            self.loop.call_soon(self.runtime.perform)

    # What the server calls, to carry out a command.

    def send(self) -> None:
        """Write the conversation's output."""
        chunks = self.conversation.take_output()
        if not chunks:
            self.flushed()
            return
        now, number, transcript = self.loop.time(), self.conversation.number, self.runtime.transcript
        if self.pacer is not None:
            self.outgoing.extend(map(memoryview, chunks))
            self.pacer.pump()
            return
        for chunk in chunks:
            transcript.sent(now, number, chunk)
        if len(chunks) > 1 and sum(map(len, chunks)) <= _SLICE:
            chunks = [b"".join(chunks)]
        if len(chunks) == 1 and len(chunks[0]) <= _SLICE and not (self.outgoing or self.paused or self.lost):
            self._write(chunks[0])
        else:
            self.outgoing.extend(map(memoryview, chunks))
        self.pump()

    def send_held(self) -> None:
        """Write what a pacer held back when the network conditions ended."""
        now, number, transcript = self.loop.time(), self.conversation.number, self.runtime.transcript
        held, self.outgoing = self.outgoing, deque()
        for piece in held:
            transcript.sent(now, number, bytes(piece))
        joined = sum(map(len, held)) <= _SLICE
        self.outgoing.extend([memoryview(b"".join(held))] if joined else held)
        self.pump()

    def send_interleaved(self, data: bytes) -> None:
        """Write `data` that belongs to no step of the script, such as a heartbeat."""
        if self.pacer is None:
            self.runtime.transcript.sent(self.loop.time(), self.conversation.number, data)
        self.outgoing.append(memoryview(data))
        self.pump()

    def pump(self) -> None:
        """Write slice after slice until the operating system takes no more."""
        transport, outgoing = self.transport, self.outgoing
        if self.pacer is not None:
            self.pacer.pump()
            return
        if transport is None:
            return
        while outgoing and not self.paused and not self.lost:
            head = outgoing[0]
            if len(head) > _SLICE:
                outgoing[0] = head[_SLICE:]
                head = head[:_SLICE]
            else:
                outgoing.popleft()
            self._write(head)
        if not outgoing and not self.paused and not self.lost:
            self.flushed()

    def _write(self, data: Union[bytes, memoryview]) -> None:
        """Write one slice. Report it to the conversation, unless it is the last one and was taken whole."""
        transport = self.transport
        if transport is None:
            return
        transport.write(data)
        self.written += len(data)
        if self.paused:
            # resume_writing() is called when the last byte of this slice has been taken.
            self.slice = transport.get_write_buffer_size()
            self._tell_untaken()
            self.conversation.receive(Progressed(self.loop.time(), len(data) - self.slice))
        elif self.outgoing:
            self.conversation.receive(Progressed(self.loop.time(), len(data)))

    def _tell_untaken(self) -> None:
        """Note in the transcript how many sent bytes the operating system has not taken yet."""
        transport = self.transport
        if transport is not None and not self.lost:
            left = transport.get_write_buffer_size() if self.paused else 0
            if self.pacer is None:  # a pacer adds to the transcript only what it has written
                left += sum(map(len, self.outgoing))
            untaken = self.runtime.transcript.untaken
            if left:
                untaken[self.conversation.number] = left
            else:
                untaken.pop(self.conversation.number, None)

    def measure(self) -> None:
        """Report to the conversation how much of the current slice the operating system has taken by now."""
        if self.paused and self.transport is not None and not self.lost:
            left = self.transport.get_write_buffer_size()
            if left < self.slice:
                taken, self.slice = self.slice - left, left
                self._tell_untaken()
                self.conversation.receive(Progressed(self.loop.time(), taken))
        elif not self.lost and ((self.pacer is not None and self.pacer.busy)
                                or (self.delivery is not None and self.delivery.waiting) or self.in_doubt):
            # The client is waiting for us: report progress of 0 bytes, so that no time-out counts against it.
            self.conversation.receive(Progressed(self.loop.time(), 0))
            if self.in_doubt:
                self.conversation.progress = self.loop.time()

    def flushed(self) -> None:
        """Report that the operating system has taken everything."""
        conversation = self.conversation
        if self.runtime.transcript.untaken:
            self._tell_untaken()
        if self._sends_script:
            self.script_bytes_end = self.on_the_wire
            if conversation.ended and not conversation.reset:
                if not self.in_doubt:
                    self._judge_end(self._tell_flushed)
                return
        conversation.receive(Flushed(self.loop.time()))

    def _tell_flushed(self, reset: bool) -> None:
        """Report that data sent after the client's end was taken; `reset` says that the client answered with a RST."""
        if reset:
            self._found_reset()
        self.conversation.receive(Flushed(self.loop.time(), reset))

    @property
    def on_the_wire(self) -> int:
        """How many bytes were written to the connection in all; over TLS, in encrypted bytes."""
        return int(getattr(self.transport, "on_the_wire", self.written))

    @property
    def _sends_script(self) -> bool:
        """Whether a write of the script is in progress, rather than data that belongs to no step."""
        return self.conversation.sending and not self.conversation.interleaved_under_way
