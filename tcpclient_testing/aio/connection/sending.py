"""The outgoing half of a connection: writes what the script sends, until the operating system has taken all of it.

    queued (`outgoing`) -> written, a slice at a time -> taken -> [flushed]

Data goes out in slices under the transport's flow control, with a write buffer limit of 0. So "taken by the operating
system" is a fact (see `Link.paused`), and `_slice` is what it has not taken of the slice written last.

Under network conditions, a `Pacer` takes over what is queued, and says when to write which chunk.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Optional, Union

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link
    from tcpclient_testing.network.conditions import Network

    from .client_end import ClientEnd
    from .pacing import Pacer

__all__ = ["Sending"]

__unittest = True

_SLICE = 256 * 1024


class Sending:
    """Sends on one connection. After the client's end, `client_end` decides whether what was sent led to a reset."""

    __slots__ = ("outgoing", "_link", "_client_end", "_slice", "_pacer", "_achieved")

    def __init__(self, link: Link, client_end: ClientEnd) -> None:
        #: What is queued; None as long as nothing ever was, since most connections need no queue.
        self.outgoing: Optional[deque[memoryview]] = None
        self._link = link
        self._client_end = client_end
        self._slice = 0
        self._pacer: Optional[Pacer] = None
        self._achieved: Optional[list[int]] = None

    @property
    def splits(self) -> tuple[int, ...]:
        """The offsets at which the outgoing stream was certainly split.

        At each of them the client had taken all earlier bytes before it was sent more. Across other offsets it may have
        read on.
        """
        return tuple(self._achieved or ())

    # What carries out a command.

    def send(self) -> None:
        """Write the conversation's output."""
        link = self._link
        conversation = link.conversation
        chunks = conversation.outbox.take()
        if not chunks:
            self.flushed()
            return
        if self._pacer is not None:
            self._queue(map(memoryview, chunks))
            self.pump()
            return
        now, number, transcript = link.loop.time(), conversation.number, link.context.transcript
        for chunk in chunks:
            transcript.sent(now, number, chunk)
        if len(chunks) > 1 and sum(map(len, chunks)) <= _SLICE:
            chunks = [b"".join(chunks)]
        if len(chunks) == 1 and len(chunks[0]) <= _SLICE and not (self.outgoing or link.paused or link.lost):
            self._write(chunks[0])
            if not link.paused:
                self.flushed()
        else:
            self._queue(map(memoryview, chunks))
            self.pump()

    def _queue(self, pieces: Iterable[memoryview]) -> None:
        if self.outgoing is None:
            self.outgoing = deque()
            self._link.when_lost(self.cancel)
        self.outgoing.extend(pieces)

    def send_interleaved(self, data: bytes) -> None:
        """Write `data` that belongs to no step of the script, such as a heartbeat."""
        link = self._link
        if self._pacer is None:
            link.context.transcript.sent(link.loop.time(), link.conversation.number, data)
        self._queue([memoryview(data)])
        self.pump()

    def set_network(self, network: Optional[Network]) -> None:
        """From now on, send to the client under these conditions; None means no conditions."""
        link = self._link
        if link.lost or link.transport is None:
            return
        before, self._pacer = self._pacer, None
        shaper = None if network is None else network.shaper(link.conversation.number, link.written)
        if shaper is not None:
            from .pacing import Pacer
            if self._achieved is None:
                self._achieved = []
                link.when_lost(self.cancel)
            link.shape(True)
            self._pacer = Pacer(link, shaper, self._achieved, self._write_chunk, self.flushed, self._send_held)
            link.note(f"network conditions: {network!r}")
        elif before is not None:
            link.note("no network conditions any more")
            if before.retire():
                self._pacer = before
            else:
                link.shape(False)

    def cancel(self) -> None:
        """Send nothing more: the connection is lost."""
        self.outgoing = None
        if self._pacer is not None:
            self._pacer.cancel()

    # Flow control.

    def resume(self) -> None:
        """Go on: the operating system has taken the rest of the last slice."""
        link = self._link
        self.tell_untaken()
        if self._slice:
            taken, self._slice = self._slice, 0
            link.conversation.progressed(link.loop.time(), taken)
        if self.outgoing or self._pacer is not None:
            self.pump()
        elif link.conversation.outbox.sending or link.conversation.outbox.interleaving:
            self.flushed()  # that was the last slice
        context = link.context
        if context.commands:
            # Not from here: asyncio is about to check whether it has to close or half-close, and would do so twice.
            link.loop.call_soon(context.perform)

    def measure(self) -> None:
        """Report to the conversation how much of the current slice the operating system has taken by now."""
        link = self._link
        if link.paused and link.transport is not None:
            left = link.transport.get_write_buffer_size()
            if left < self._slice:
                taken, self._slice = self._slice - left, left
                self.tell_untaken()
                link.conversation.progressed(link.loop.time(), taken)

    @property
    def held_back(self) -> bool:
        """Whether network conditions hold back what is to be sent."""
        return self._pacer is not None and self._pacer.busy

    # Writing.

    def pump(self) -> None:
        """Write slice after slice until the operating system takes no more."""
        link, outgoing = self._link, self.outgoing
        if self._pacer is not None:
            self._pacer.pump(outgoing)
            return
        if link.transport is None:
            return
        while outgoing and not (link.paused or link.lost or link.broken):
            head = outgoing[0]
            if len(head) > _SLICE:
                outgoing[0] = head[_SLICE:]
                head = head[:_SLICE]
            else:
                outgoing.popleft()
            self._write(head)
        if not (outgoing or link.paused or link.lost):
            self.flushed()

    def _write(self, data: Union[bytes, memoryview]) -> None:
        """Write one slice. Report it to the conversation, unless it is the last one and was taken whole."""
        link = self._link
        link.write(data)
        if link.paused:
            self._begin_slice(len(data), told=True)
        elif self.outgoing and not link.broken:
            link.conversation.progressed(link.loop.time(), len(data))

    def _write_chunk(self, chunk: bytes) -> bool:
        """Write a chunk for the pacer. Return whether the operating system has taken it whole."""
        link = self._link
        link.context.transcript.sent(link.loop.time(), link.conversation.number, chunk)
        link.write(chunk)
        if link.paused:
            self._begin_slice(len(chunk), told=False)  # `resume` calls the pacer again
        return not link.paused

    def _begin_slice(self, size: int, *, told: bool) -> None:
        """The operating system has not taken all of a write of `size` bytes: `resume` is called when it has."""
        link = self._link
        assert link.transport is not None
        self._slice = link.transport.get_write_buffer_size()
        if told:
            self.tell_untaken()
        link.conversation.progressed(link.loop.time(), size - self._slice)

    def _send_held(self) -> None:
        """Write what the pacer held back when the network conditions ended; there is no pacer any more."""
        self._pacer = None
        link = self._link
        link.shape(False)
        now, number, transcript = link.loop.time(), link.conversation.number, link.context.transcript
        held, self.outgoing = self.outgoing or (), None
        for piece in held:
            transcript.sent(now, number, bytes(piece))
        joined = sum(map(len, held)) <= _SLICE
        self._queue([memoryview(b"".join(held))] if joined else held)
        self.pump()

    def tell_untaken(self) -> None:
        """Note in the transcript how many sent bytes the operating system has not taken yet."""
        link = self._link
        if link.transport is not None and not link.lost:
            left = link.transport.get_write_buffer_size() if link.paused else 0
            if self._pacer is None:  # a pacer adds to the transcript only what it has written
                left += sum(map(len, self.outgoing or ()))
            untaken = link.context.transcript.untaken
            if left:
                untaken[link.conversation.number] = left
            else:
                untaken.pop(link.conversation.number, None)

    def flushed(self) -> None:
        """Report that the operating system has taken everything."""
        link, client_end, conversation = self._link, self._client_end, self._link.conversation
        inbox, outbox = conversation.inbox, conversation.outbox
        if link.context.transcript.untaken:
            self.tell_untaken()
        if outbox.sending and not outbox.interleaving:  # faster than link.sends_script
            link.script_sent()
            if inbox.ended and not inbox.hung_up:
                if not client_end.in_doubt:
                    client_end.judge(self._tell_flushed)
                return
        conversation.flushed(link.loop.time())

    def _tell_flushed(self, reset: bool) -> None:
        """Report that data sent after the client's end was taken; `reset` says that the client answered with a RST."""
        if reset:
            self._client_end.found_reset()
        self._link.conversation.flushed(self._link.loop.time(), reset=reset, sent=self._link.written)
