"""Waits until everything that clients did has arrived when the server is left; then lets the engine judge what is left.

It also judges how clients closed their asyncio streams, which the engine can't see.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.streams.rules import StreamMisuse, complaint, unfinished
from tcpclient_testing.aio.streams.watch import StreamWatch
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.steps.base import NOTHING, Step
from tcpclient_testing.engine.steps.lifecycle import ExpectDisconnect

if TYPE_CHECKING:
    from collections.abc import Container

    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.aio.streams.record import ClientStream
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["FinalCheck"]

__unittest = True

# How long clients have to close. A correct client in this loop needs some turns of the loop, for its socket and its
# streams. One in another thread or process needs a moment (seconds). A client still connected then was not closed.
_TURNS = 16

_FEWEST_TURNS = 4

_MOMENT = 0.1

_PAUSE = 0.005

_LOOKS = 100


class FinalCheck:
    """Judges what shows only at the end, for the server that has this `runtime`.

    `allow_open` and `allow_extra` say what may be left: connected clients; bytes and connections that no step explains.
    """

    def __init__(self, runtime: Runtime, *, allow_open: bool, allow_extra: bool) -> None:
        self._runtime = runtime
        self._allow_open = allow_open
        self._allow_extra = allow_extra
        self._watch: Optional[StreamWatch] = None
        self._looked_at: set[Conversation] = set()
        self._latest_at: dict[Any, Conversation] = {}  # the latest conversation by the client's address
        self._earlier: dict[Conversation, Optional[ClientStream]] = {}  # if another client has the address now

    def watch_streams(self) -> None:
        """Begin to watch the asyncio streams of clients in this process."""
        self._watch = StreamWatch(self._runtime.reception.listens_at)
        self._watch.start()
        self._runtime.context.see_streams(self._watch.stream_of, self.ending_of, self._address_taken)

    def close(self) -> None:
        """Stop watching streams, and release the exceptions that were kept."""
        if self._watch is not None:
            self._watch.stop()
        self._runtime.host.release_snapshot()

    # Leftover bytes and connections.

    async def settle(self) -> None:
        """Wait until everything under way has arrived, then judge bytes and connections that no step explains."""
        runtime = self._runtime
        runtime.reception.accept()
        # What clients have sent is in the operating system's buffers; it is in ours only after some turns.
        await self._wait_until(self._settled, fewest=_FEWEST_TURNS)
        if runtime.handlers is not None:
            await runtime.handlers.finish(allow_open=self._allow_open)
        if runtime.step_tasks is not None:
            await runtime.step_tasks.finish_replies()
        self.settle_now()

    def settle_now(self) -> None:
        """Judge bytes and connections that no step explains, now that nothing is under way."""
        runtime = self._runtime
        runtime.session.settle(runtime.context.now(), allow_open=self._allow_open, allow_extra=self._allow_extra)
        runtime.context.perform()

    async def imply_disconnects(self) -> None:
        """Add an `expect_disconnect()` to each script that does not say how its connection ends.

        A client that is still connected gets no such step. If the server has disconnected, the script fails; otherwise
        `settle` judges the connection. What a handler serves ends with the handler. With ``allow_open=True``, a script
        may leave open how its connection ends, and with ``allow_extra=True`` more bytes may come before that.
        """
        runtime = self._runtime
        if self._allow_open:
            return
        open_ended = [each for each in runtime.session.connections.all if each.inbox.accepted and each.script.steps
                      and each.script.handed_over is None and each.script.steps[-1].followers is not NOTHING]
        if any(not conversation.inbox.ended for conversation in open_ended):
            await self._wait_until(lambda: all(conversation.inbox.ended or conversation.inbox.closed
                                               for conversation in open_ended))
        for conversation in open_ended:
            if self._allow_extra and conversation.inbox.pending:
                continue
            if conversation.inbox.ended and not runtime.context.environment.over:
                step = ImpliedDisconnect(conversation.script.steps[-1].origin)
                runtime.session.add_to(conversation, step, runtime.context.now())
                runtime.context.perform()
            elif conversation.inbox.draining and not conversation.inbox.closed:
                runtime.context.fail(conversation, None, Mismatch("the server has disconnected, but the client is "
                                                                  "still connected when the server is left"))

    async def _wait_until(self, done: Callable[[], bool], *, fewest: int = 0) -> None:
        """Wait until `done()`: for `fewest` turns of the loop at least, and for a moment at most."""
        runtime = self._runtime
        loop = runtime.context.loop
        began = loop.time()
        turns = 0
        while turns < fewest or not done():
            if self._allow_extra:
                self._drop_extra()
            if turns >= _TURNS and loop.time() >= self._deadline(began) and not runtime.connections.in_doubt:
                break
            await asyncio.sleep(0 if turns < _TURNS else _PAUSE)
            turns += 1

    def _drop_extra(self) -> None:
        """Drop what clients have sent beyond their scripts, so that the server reads what they still send."""
        for conversation in self._runtime.session.connections.all:
            if conversation.inbox.pending and conversation.script.complete:
                conversation.inbox.clear()

    def _deadline(self, began: float) -> float:
        """Return when to wait no more. A client whose extra bytes are permitted may send until the time-out."""
        runtime = self._runtime
        deadline = began + _MOMENT
        if self._allow_extra:
            timeout = runtime.context.environment.timeout
            latest = max((conversation.inbox.progress for conversation in runtime.session.connections.all),
                         default=began)
            deadline = max(deadline, latest + _MOMENT)
            return deadline if timeout is None else min(deadline, max(began + timeout, began + _MOMENT))
        return deadline

    def _settled(self) -> bool:
        runtime = self._runtime
        if runtime.reception.attaching:
            return False
        if runtime.handlers is not None and runtime.handlers.busy(allow_open=self._allow_open):
            return False
        connections = runtime.connections.by_number
        for conversation in runtime.session.connections.all:
            inbox = conversation.inbox
            if inbox.accepted and not (inbox.ended or inbox.closed) and not (
                    connections[conversation.number].closing.all_read() if inbox.draining else self._allow_open):
                return False
        return True

    def is_ready(self) -> bool:
        """Whether `settle_now` judges what `settle` would, since nothing is under way and nothing can follow.

        The script is complete, every client has closed its connection, and its asyncio stream, and no handler runs.
        """
        runtime = self._runtime
        session = runtime.session
        if session.environment.over or not session.complete:
            return False
        runtime.reception.accept()
        if runtime.reception.attaching or runtime.connections.in_doubt:
            return False
        if runtime.handlers is not None and runtime.handlers.busy(allow_open=self._allow_open):
            return False
        if runtime.step_tasks is not None and runtime.step_tasks.replies():
            return False
        return all(conversation.inbox.closed and conversation.inbox.ended and not conversation.inbox.pending
                   and conversation.script.steps and self._is_content(conversation)
                   for conversation in session.conversations)

    # Streams.

    def _address_taken(self, conversation: Conversation, peername: Any) -> None:
        """A client has connected. If it reuses an earlier client's address, keep their streams apart."""
        if not isinstance(peername, tuple):
            return  # no two clients of a Unix-domain socket are known by the same inode
        earlier = self._latest_at.get(peername)
        self._latest_at[peername] = conversation
        if earlier is not None and self._watch is not None:
            stream = self._watch.stream_of(peername)
            if stream is not None and not stream.connection_lost:
                stream = None  # the new client's, which exists already
            self._earlier[earlier] = stream
            if stream is not None:
                self._watch.forget(stream)

    def _stream_of(self, conversation: Conversation) -> Optional[ClientStream]:
        """Return the record of the client's stream; None if no stream is known."""
        if self._watch is None or conversation in self._earlier:
            return self._earlier.get(conversation)
        return self._watch.stream_of(conversation.inbox.peername)

    def _is_content(self, conversation: Conversation) -> bool:
        """Whether there is no complaint about the client's stream, and none can follow."""
        stream = self._stream_of(conversation)
        last = conversation.script.steps[-1]
        if stream is None or not isinstance(last, ExpectDisconnect):
            return True
        return stream.connection_lost and complaint(stream, wait_closed=last.wait_closed,
                                                    may_leave=_may_leave(conversation, last)) is None

    async def look_at_streams(self, *, final: bool) -> None:
        """Judge how clients that use asyncio's streams have closed, if their last step is an `expect_disconnect()`.

        Unless this is `final`, clients that may still finish closing, in a task of their own, are judged by a later
        call.
        """
        if self._watch is None or self._runtime.context.environment.over:
            return
        for conversation in self._runtime.session.connections.all:
            if conversation not in self._looked_at and conversation.inbox.accepted:
                step = conversation.script.final
                if isinstance(step, ExpectDisconnect) and step.satisfied \
                        and await self._look_at(conversation, step, final):
                    self._looked_at.add(conversation)

    def forgive(self, steps: Container[Step[Any]]) -> None:
        """Don't look at the streams of clients if the last step of their script is one of these."""
        self._looked_at.update(conversation for conversation in self._runtime.session.connections.all
                               if conversation.script.steps and conversation.script.steps[-1] in steps)

    async def _look_at(self, conversation: Conversation, step: ExpectDisconnect, final: bool) -> bool:
        """Judge how one client has closed. Return False, without judging, if that has to wait."""
        stream = self._stream_of(conversation)
        if stream is None:
            return True
        may_leave = _may_leave(conversation, step)
        words = complaint(stream, wait_closed=step.wait_closed, may_leave=may_leave)
        elsewhere, here = stream.thread_id != originals.get_ident(), asyncio.current_task()
        looks = 0
        while words is not None:
            at_work = unfinished(stream, wait_closed=step.wait_closed) and stream.may_go_on(here)
            if at_work and not final and (elsewhere or looks >= _TURNS):
                return False
            # Turns of this loop prove nothing about a client in another loop, or about one that waits for something.
            if looks >= (_LOOKS if elsewhere or at_work else _TURNS):
                break
            await asyncio.sleep(_PAUSE if elsewhere or looks >= _TURNS else 0)
            looks += 1
            words = complaint(stream, wait_closed=step.wait_closed, may_leave=may_leave)
        if words is not None:
            unwaited = not stream.wait_closed_awaited and complaint(stream, wait_closed=False) is None
            self._runtime.context.fail(conversation, step, StreamMisuse(words, unwaited))
        return True

    def ending_of(self, conversation: Conversation) -> str:
        """Say how a client ended its stream, as far as that is known."""
        stream = self._stream_of(conversation)
        if stream is None:
            return "ended its stream"
        return "closed" if stream.close_called or stream.connection_lost else "half-closed"


def _may_leave(conversation: Conversation, step: ExpectDisconnect) -> int:
    """How many of the bytes sent last the client may leave unread: those that belong to no step of the script."""
    outbox = conversation.outbox
    return outbox.total if step.unread else outbox.total - outbox.script_end


class ImpliedDisconnect(ExpectDisconnect):
    """The `expect_disconnect()` added to a script that does not say how the connection ends."""

    __slots__ = ()

    def __init__(self, origin: Origin) -> None:
        super().__init__(True, origin)

    def __str__(self) -> str:
        return "expect_disconnect(), implied at the end of the script"
