"""The verdict at the end: what is left over, what the client's streams did, and whose exception is reported.

One test, one report, the cause first. If the script had failed, everything that the client raised afterwards is a
consequence; if the client failed by itself, its exception is the report, and the conversation is attached to it.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.expectations import ExpectDisconnect
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin

from .body import consequence
from .causes import chain_of, parts_of
from .runtime import Runtime
from .watch import StreamWatch

if TYPE_CHECKING:
    from tcpclient_testing.report import ExpectationError

    from .client_stream import ClientStream

__all__ = ["Verdict", "is_control", "is_error"]

__unittest = True

# A client in this loop that does everything right needs some turns to have closed, of sockets and of streams; one in
# another thread or process a moment (seconds). Whoever is still connected then has not been closed.
_TURNS = 16
_FEWEST_TURNS = 4
_MOMENT = 0.1
_PAUSE = 0.005
_LOOKS = 100


class Verdict:
    """Judges what only the end shows, for the server whose `runtime` this is."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._watch: Optional[StreamWatch] = None
        self._looked_at: set[Conversation] = set()
        self._latest_at: dict[Any, Conversation] = {}  # by the client's address
        self._earlier: dict[Conversation, Optional[ClientStream]] = {}  # those whose address another client has now

    def watch_streams(self) -> None:
        """Begin to watch the streams of clients in this process."""
        self._watch = StreamWatch(self._runtime.reception.listens_at)
        self._watch.start()
        self._runtime.evidence = self.ending_of
        self._runtime.stream_of = self._watch.stream_of
        self._runtime.address_taken = self._address_taken

    def close(self) -> None:
        """Watch no more, and keep nothing alive."""
        if self._watch is not None:
            self._watch.stop()
        self._runtime.whereabouts = None

    # What is left over.

    async def settle(self, *, allow_open: bool, allow_extra: bool) -> None:
        """Judge bytes and connections that no step explains, once everything under way has arrived."""
        runtime = self._runtime
        runtime.reception.accept()
        for turn in range(_TURNS):
            # What clients have sent is in our system's buffers, but in ours only after some turns.
            if turn >= _FEWEST_TURNS and self._settled(allow_open):
                break
            await asyncio.sleep(0)
        else:
            deadline = runtime.loop.time() + _MOMENT
            while not self._settled(allow_open):
                if runtime.loop.time() >= deadline and not self._in_doubt():
                    break
                await asyncio.sleep(_PAUSE)
        if runtime.handlers is not None:
            await runtime.handlers.finish(allow_open=allow_open)
        runtime.session.settle(runtime.loop.time(), allow_open=allow_open, allow_extra=allow_extra)
        runtime.perform()

    async def imply_disconnects(self) -> None:
        """Let each connection whose script does not say how it ends end with an `expect_disconnect()`.

        A client that is still connected is left to `settle`.
        """
        runtime = self._runtime
        open_ended = [conversation for conversation in runtime.session.conversations
                      if conversation.accepted and conversation.steps
                      and conversation.steps[-1].method not in ("expect_disconnect", "expect_reset", "reset")]
        if any(not conversation.ended for conversation in open_ended):
            await self._await_ends(open_ended)
        for conversation in open_ended:
            if conversation.ended and not runtime.session.over:
                step = ImpliedDisconnect(conversation.steps[-1].origin)
                runtime.session.add_to(conversation, step, runtime.loop.time())
                runtime.perform()
            elif conversation.draining and not conversation.closed:
                runtime.session.now = runtime.loop.time()
                runtime.session.fail(conversation, None, Mismatch("the server has disconnected, but the client is "
                                                                  "still connected when the server is left"))
                runtime.perform()

    async def _await_ends(self, conversations: list[Conversation]) -> None:
        deadline = self._runtime.loop.time() + _MOMENT
        turns = 0
        while not all(conversation.ended or conversation.closed for conversation in conversations):
            if turns >= _TURNS and self._runtime.loop.time() >= deadline and not self._in_doubt():
                break
            turns += 1
            await asyncio.sleep(0 if turns < _TURNS else _PAUSE)

    def _settled(self, allow_open: bool) -> bool:
        if self._runtime.reception.attaching:
            return False
        if self._runtime.handlers is not None and self._runtime.handlers.busy(allow_open=allow_open):
            return False
        return all(conversation.ended or conversation.closed
                   or (self._runtime.protocols[conversation].all_read() if conversation.draining else allow_open)
                   for conversation in self._runtime.session.conversations if conversation.accepted)

    def _in_doubt(self) -> bool:
        """Whether it is not known yet how some client has ended its stream; that takes a moment at most."""
        return any(protocol.in_doubt for protocol in self._runtime.protocols.values())

    def nothing_left(self) -> bool:
        """Whether nothing is left to judge, nor can come: every step satisfied, every client gone as it should."""
        runtime = self._runtime
        session = runtime.session
        if session.over or not session.complete:
            return False
        runtime.reception.accept()
        return not runtime.reception.attaching and all(
            conversation.closed and conversation.ended and conversation.steps and not conversation.pending
            and self._is_content(conversation) for conversation in session.conversations)

    # Streams.

    def _address_taken(self, conversation: Conversation, peername: Any) -> None:
        """A client has connected. If it has the address of an earlier one, that one's stream is not its."""
        earlier = self._latest_at.get(peername)
        self._latest_at[peername] = conversation
        if earlier is not None and self._watch is not None:
            stream = self._watch.stream_of(peername)
            if stream is not None and not stream.connection_lost:
                stream = None  # the new client's, which is that fast
            self._earlier[earlier] = stream
            if stream is not None:
                self._watch.forget(stream)

    def _stream_of(self, conversation: Conversation) -> Optional[ClientStream]:
        """What the client did with its stream; None if nobody knows of one."""
        if self._watch is None or conversation in self._earlier:
            return self._earlier.get(conversation)
        return self._watch.stream_of(conversation.peername)

    def _is_content(self, conversation: Conversation) -> bool:
        """Whether there is no complaint about the client's stream, and can't be any more."""
        stream = self._stream_of(conversation)
        last = conversation.steps[-1]
        if stream is None or not isinstance(last, ExpectDisconnect):
            return True
        from .duties import complaint
        return stream.connection_lost and complaint(stream, wait_closed=last.wait_closed) is None

    async def look_at_streams(self, *, final: bool) -> None:
        """Judge how clients that use asyncio's streams have closed, where an `expect_disconnect()` asks for it.

        Unless it is `final`, those that may still do their duty, in a task of their own, are left for later.
        """
        if self._watch is None or self._runtime.session.over:
            return
        for conversation in self._runtime.session.conversations:
            if conversation not in self._looked_at and conversation.accepted:
                step = next((step for step in conversation.steps[-1:] if isinstance(step, ExpectDisconnect)), None)
                if step is not None and step.satisfied and await self._look_at(conversation, step, final):
                    self._looked_at.add(conversation)

    async def _look_at(self, conversation: Conversation, step: ExpectDisconnect, final: bool) -> bool:
        """Judge how one client has closed; return False, and do nothing, if that has to be put off."""
        stream = self._stream_of(conversation)
        if stream is None:
            return True
        from .duties import Neglected, complaint, unfinished
        words = complaint(stream, wait_closed=step.wait_closed)
        elsewhere, here = stream.thread_id != threading.get_ident(), asyncio.current_task()
        looks = 0
        while words is not None:
            at_work = unfinished(stream, wait_closed=step.wait_closed) and stream.may_go_on(here)
            if at_work and not final and (elsewhere or looks >= _TURNS):
                return False
            # Turns of this loop say nothing about a client in another one, or about one that waits for something.
            if looks >= (_LOOKS if elsewhere or at_work else _TURNS):
                break
            await asyncio.sleep(_PAUSE if elsewhere or looks >= _TURNS else 0)
            looks += 1
            words = complaint(stream, wait_closed=step.wait_closed)
        if words is not None:
            runtime = self._runtime
            runtime.session.now = runtime.loop.time()
            unwaited = not stream.wait_closed_awaited and complaint(stream, wait_closed=False) is None
            runtime.session.fail(conversation, step, Neglected(words, unwaited))
            runtime.perform()
        return True

    def ending_of(self, conversation: Conversation) -> str:
        """How a client ended its stream: as far as the evidence goes."""
        stream = self._stream_of(conversation)
        if stream is None:
            return "ended its stream"
        return "closed" if stream.close_called or stream.connection_lost else "half-closed"

    # Exceptions.

    def instead_of(self, exc: BaseException, *, interrupted: bool, attach: bool = True) -> Optional[BaseException]:
        """What is to be raised instead of `exc`, which the body raised: None where it stands.

        Where the script had failed first, it is the verdict; else the conversation is attached to `exc`, if `attach`.
        `interrupted` tells that `exc` is our own cancellation. What is not an error (KeyboardInterrupt, SystemExit, a
        skip) passes.
        """
        own = isinstance(exc, asyncio.CancelledError) and interrupted
        if not (own or is_error(exc)) or is_control(exc):
            return None
        from tcpclient_testing.report import ExpectationError
        if isinstance(exc, ExpectationError):
            return self._earlier_than(exc)
        raised: Optional[BaseException] = consequence(exc) if own else exc
        if own and isinstance(raised, AssertionError) and not isinstance(raised, ExpectationError):
            # The test had found fault by itself, and was interrupted while it cleaned up.
            if attach:
                self._attach(raised)
            return raised
        if self._by_itself(raised):
            assert raised is not None
            if attach:
                self._attach(raised)
            return raised if own else None
        if self.blames(raised):
            return self._runtime.error()
        if attach:
            self._attach(exc)
        return None

    def _earlier_than(self, verdict: ExpectationError) -> Optional[ExpectationError]:
        """Our own verdict, where that of another server of the same test came later: mostly as a consequence."""
        runtime, failure, other = self._runtime, self._runtime.session.failure, verdict.report.failure
        # Virtual seconds are no other server's.
        if failure is None or failure is other or failure.now >= other.now or runtime.virtual:
            return None
        return runtime.error()

    def _by_itself(self, exc: Optional[BaseException]) -> bool:
        """Whether the client raised `exc` by itself, although the script has failed.

        A client that raises mostly closes its connection on the way out, which is not what the script says either, but
        a consequence. So an exception that was on its way when the client's end failed the script is the cause; one
        that was raised since, or that a broken connection raises, is none. Where nobody knows (the client runs in a
        thread, or in a task that had ended), it is taken for the cause. Of a group, one part is enough.
        """
        return exc is not None and any(self._part_by_itself(part) for part in parts_of(exc))

    def _part_by_itself(self, exc: BaseException) -> bool:
        failure = self._runtime.session.failure
        if getattr(exc, "has_conversation", False):
            return True  # whoever waited gave up, and only then did the script fail: mostly by the client's going away
        if failure is None or not failure.at_end:
            return False
        from tcpclient_testing.report import ExpectationError
        if not isinstance(exc, Exception) or isinstance(exc, ExpectationError):
            return False
        stood = self._runtime.whereabouts
        if stood is not None and stood.shows(exc):
            return True
        return not any(isinstance(each, (OSError, EOFError)) for each in chain_of(exc)) \
            and not (stood is not None and stood.precedes(exc))

    def blames(self, exc: Optional[BaseException]) -> bool:
        """Whether the script had failed when `exc` was raised; the first such exception stands in the report."""
        runtime = self._runtime
        if runtime.session.failure is None:
            return False
        from tcpclient_testing.report import ExpectationError
        if runtime.client_exception is None and not isinstance(exc, ExpectationError):
            runtime.client_exception = exc
        return True

    def _attach(self, exc: BaseException) -> None:
        """Let the exception be shown with the conversation: as a note, or (3.9 and 3.10) in the chain."""
        runtime = self._runtime
        if not len(runtime.transcript) or getattr(exc, "has_conversation", False):
            return
        from tcpclient_testing.report import conversation_text, headline
        failure = runtime.session.failure
        text = "\n".join([*([] if failure is None else [headline(failure), ""]),
                          f"the conversation with {runtime.listening_at()} until then",
                          *conversation_text(runtime.session, runtime.transcript)])
        note: Any = getattr(exc, "add_note", None)
        if note is not None:
            note(text)
        else:
            _attach_by_chain(exc, ConversationSoFar("no error, but what had passed when the exception below was "
                                                    f"raised\n{text}"))


def is_control(exc: BaseException) -> bool:
    """Whether a test framework raises this to say how the test goes on: a skip, or unittest's end after a subtest."""
    return type(exc).__name__ in ("SkipTest", "Skipped", "_ShouldStop")


def is_error(exc: BaseException) -> bool:
    """Whether this is an error: what pytest.fail() raises is no `Exception`, but an error all the same."""
    return isinstance(exc, Exception) or type(exc).__name__ == "Failed"


class ImpliedDisconnect(ExpectDisconnect):
    """The `expect_disconnect()` at the end of a script that does not say how the connection ends."""

    __slots__ = ()

    def __init__(self, origin: Origin) -> None:
        super().__init__(True, origin)

    def __str__(self) -> str:
        return "expect_disconnect(), as nothing else is said"


class ConversationSoFar(Exception):
    """The conversation that a client's own exception interrupted; it is only there to be shown."""


ConversationSoFar.__module__ = "tcpclient_testing"


def _attach_by_chain(exc: BaseException, told: ConversationSoFar) -> None:
    """Let `told` be shown with `exc`: at the far end of its chain, so that nothing of that is lost.

    "During handling of the above exception, another exception occurred" is nearer to the truth than "the direct cause".
    """
    last = _shown_chain(exc)[-1]
    if last.__context__ is None:
        last.__context__, last.__suppress_context__ = told, False
    else:  # one that was suppressed, and is to stay so
        last.__cause__ = told


def _shown_chain(exc: BaseException) -> list[BaseException]:
    """An exception, and those that a traceback shows before it: its cause, or else a context not suppressed."""
    chain: list[BaseException] = []
    following: Optional[BaseException] = exc
    while following is not None and following not in chain:
        chain.append(following)
        context = None if following.__suppress_context__ else following.__context__
        following = following.__cause__ or context
    return chain
