"""Decides which message comes next on a connection where more than the due step is possible.

A conversation gets a `Selection` as soon as its script uses `allow`, `every`, `any_order`, or the server's
``pipelining=False``. Without one, the client's bytes go straight to the due step. `Candidates` has the rule by which
one of several possible messages is chosen.

Invariants

- Candidates read bytes without consuming them: the bytes stay pending until one candidate has won. One exception: if
  only the due expectation is left, the conversation commits to it and consumes its bytes as they come, so that memory
  stays bounded.
- While actions are under way, the expectation after them is already a candidate. So it makes no difference whether a
  message came before or after they were done. The expectation may win early; it is satisfied when its turn comes.
- Once a message has been recognised as an allowed one, no step that is written later can claim it.
- An allowed message is not progress: it restarts neither the time-out of the waiting step nor the idle time-out.
  `progress` keeps the conversation's progress from before the message began. It is put back when the message turns out
  to be an allowed one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.engine.connection.interleaved import InterleavedSend, InterleavedSends, output_ended
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch, ReadingRaised
from tcpclient_testing.engine.steps.base import DONE, WAITING, Outcome, Step
from tcpclient_testing.engine.steps.messages import ExpectMessage
from tcpclient_testing.engine.wording import counted, lateness, shorten
from tcpclient_testing.errors import ScriptError

from .allowing import Allowed, Permit
from .any_order import Unordered, places
from .candidates import KEPT, Candidates, Reading, none_matches
from .heartbeats import Every, HeartbeatTimer

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["Selection", "race"]

__unittest = True

# How many bytes of the last allowed message are kept for reports.
_KEPT = 64


class Selection:
    """What applies to one conversation in addition to the order of its steps.

    - `permits`, `beats`: its `allow()` and `every()`, with the step from which each applies
    - `blocks`: its `any_order()` blocks that have open expectations; `writing`: the block that is still being written
    - `candidates`: the readings of the next message; `won`: the reading of an expectation that has won
    - `interleaved`: what the server sends that belongs to no step
    - `progress`: when the conversation last made progress before the message that is coming in
    """

    __slots__ = ("permits", "beats", "blocks", "writing", "candidates", "won", "interleaved", "progress", "_came",
                 "_last", "_since", "_began")

    def __init__(self) -> None:
        self.permits: list[Permit] = []
        self.beats: list[HeartbeatTimer] = []
        self.blocks: list[Unordered] = []
        self.writing: Optional[Unordered] = None
        self.candidates: Optional[Candidates] = None
        self.won: Optional[Reading] = None
        self.interleaved = InterleavedSends()
        self.progress = 0.0
        self._came = 0
        self._last = b""
        self._since = -1.0
        self._began = 0.0

    # Writing the script.

    def put(self, written: Union[Allowed, Every], position: int) -> None:
        """Add an `allow()` or `every()`, which applies from the step at `position`."""
        if isinstance(written, Allowed):
            self.permits.append(Permit(written, position))
        else:
            self.beats.append(HeartbeatTimer(written, position))

    def open_block(self, start: int, now: float) -> None:
        """Begin an `any_order()` block: the messages written from `now` on may come in any order."""
        if self.writing is not None:
            raise ScriptError("any_order() is within any_order(); write one block after the other")
        self.writing = Unordered(start, now)

    def close_block(self, conversation: Conversation) -> None:
        """End the block that is being written. If its turn has come already, its time-outs begin now."""
        if self.unfinished_block(conversation) is not None:
            conversation.due = None
        block, self.writing = self.writing, None
        if block is not None and block.units:
            self.blocks.append(block)

    def unfinished_block(self, conversation: Conversation) -> Optional[Unordered]:
        """Return the block that is being written, if its turn has come (so no step is due yet); else None."""
        block = self.writing
        return block if block is not None and conversation.cursor >= block.start else None

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if `step` belongs to the block that is being written."""
        if self.writing is not None and step.index >= self.writing.start:
            raise ScriptError(f"{step} was awaited within any_order(), where nothing happens before the block has "
                              "ended; await it after the `with` statement")

    def arrives(self, progress: float, now: float) -> None:
        """The first bytes of a message came at `now`; the last progress before them was at `progress`."""
        self.progress, self._began = progress, now

    def general_permits(self, conversation: Conversation) -> list[Permit]:
        """Return the permits that apply to all connections, and so to one that has no script yet."""
        everywhere = conversation.session.everywhere
        return [permit for permit in self.permits if permit.left != 0 and permit.allowed in everywhere]

    def keep_connection(self, other: Selection) -> None:
        """Keep what belongs to each connection when two conversations exchange their scripts.

        The scripts take their `Selection` objects with them. So this exchanges back what was sent and let through
        before the script of the connection was known. Until then only an `allow()` or `every()` for all connections
        applies.
        """
        for name in ("interleaved", "progress", "_came", "_last", "_since", "_began"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        left = {permit.allowed: permit for permit in other.permits}
        for permit in self.permits:
            same = left.get(permit.allowed)
            if same is not None:
                permit.left, same.left = same.left, permit.left

    def added(self, step: Step[Any]) -> None:
        """Take note that `step` was appended to the script."""
        if self.writing is not None:
            self.writing.add(step)

    def run_limit(self, first: int) -> int:
        """Return the index of the step before which a run of exact expectations has to end, if it begins at `first`."""
        limits = [permit.position for permit in self.permits if permit.position > first]
        limits += [block.start for block in self.blocks if block.start > first]
        if self.writing is not None:
            limits.append(self.writing.start)
        return min(limits, default=1 << 62)

    # What the conversation calls while its script advances.

    def before(self, conversation: Conversation, step: Step[Any]) -> Optional[Outcome]:
        """Return the outcome of the due step if it is decided here; None if the step has to proceed by itself."""
        if conversation.sending:
            return None
        if self.writing is not None and step.index >= self.writing.start:
            return WAITING
        if not step.is_expectation and step.method != "start_tls" and conversation.session.pipelining:
            return None  # an action: what has come after the message before it is for later steps
        self.look(conversation)
        if not step.reads:
            self._judge_answering(conversation)
            return WAITING if conversation.session.over else None
        if conversation.session.over:
            return WAITING
        if self.candidates is None and self.won is None:
            return None
        outcome = self._decide(conversation, step)
        if outcome is WAITING:
            conversation.arm()
        return outcome

    def after(self, conversation: Conversation) -> None:
        """The script has to wait: let allowed messages through, start heartbeats, and write interleaved sends."""
        self.look(conversation)
        self._judge_answering(conversation)
        for beat in self.beats:
            beat.start(conversation)
        if self.writing is not None:
            conversation.session.remind_of_unfinished_blocks()
        if not conversation.session.over:
            self.interleaved.pump(conversation)

    def look(self, conversation: Conversation) -> None:
        """Consume the allowed messages that have come. If an expectation has won, keep its reading in `won`."""
        while self.won is None and not conversation.session.over:
            if self.candidates is None or not self.candidates.committed:
                sources = self._sources(conversation)
                if self.candidates is None or self.candidates.sources != sources:
                    self.candidates = race(conversation, sources)
                if self.candidates is None:
                    return
            winner = self.candidates.run(conversation.pending)
            if winner is None:
                return
            if isinstance(winner.source, Permit):
                self.let_through(conversation, winner)
            else:
                self.won = winner

    def forget(self) -> None:
        """Discard all readings, because the pending bytes were discarded."""
        self.candidates = self.won = None

    def let_through(self, conversation: Conversation, winner: Reading) -> None:
        """Accept an allowed message that has come: consume its bytes, count it, and send its reply, if it has one."""
        self.candidates = None
        self._last = conversation.unclaimed(min(winner.end, _KEPT))
        conversation.consume(winner.end)
        now = conversation.session.now
        # An allowed message is not progress. But nothing else could come meanwhile, so that time is not counted.
        conversation.progress = min(self.progress + (now - self._began), now)
        if conversation.pending:
            self.arrives(conversation.progress, now)
            conversation.progress = now
        self._came = self._came + 1 if conversation.turn == self._since else 1
        self._since = conversation.turn
        assert winner.result is not None
        reply = winner.source.came(conversation, winner.result.result)
        if reply is not None:
            self.interleaved.waiting.append(reply)
            self.interleaved.pump(conversation)

    def _sources(self, conversation: Conversation) -> list[Any]:
        """Return what may come next, in order of precedence; an empty list if the script alone decides."""
        if _reads_alone(conversation):
            return []
        permits: list[Any] = [permit for permit in self.permits if permit.holds(conversation)]
        position = conversation.issued if conversation.sending else conversation.cursor
        steps = conversation.steps
        here = position
        while position < len(steps) and not steps[position].is_expectation and steps[position].method != "start_tls":
            position += 1
        if position == len(steps) or not steps[position].reads:
            return permits
        step = steps[position]
        block = self.block_of(step)
        if block is not None:
            return permits + block.heads()
        if not self.permits or (self.writing is not None and position >= self.writing.start):
            return permits
        if position > here and isinstance(step, ExpectMessage) and not isinstance(step.framing, Framing):
            return permits  # its callable is asked for the length when the step is due, not before
        return [*permits, step]

    def block_of(self, step: Step[Any]) -> Optional[Unordered]:
        """Return the block in which `step` is one of the open expectations; None if there is none."""
        for block in self.blocks:
            if any(unit[0] is step for unit in block.units):
                return block
        return None

    def _decide(self, conversation: Conversation, step: Step[Any]) -> Outcome:
        """Return the outcome of the due expectation, or of another one of its block that was met in its place."""
        won, candidates = self.won, self.candidates
        if won is not None:
            assert won.result is not None
            block = self.block_of(won.source)
            if block is not None:
                block.move_up(won.source, conversation)
                if not block.units:
                    self.blocks.remove(block)
            won.source.take(won.result.result)
            conversation.consume(won.end)
            self.won = self.candidates = None
            self.arrives(conversation.session.now, conversation.session.now)
            self._came = 0
            return DONE
        assert candidates is not None
        alive = candidates.alive()
        if not alive:
            return none_matches(candidates, conversation.unclaimed(256))
        if conversation.ended:
            if not conversation.pending and not candidates.committed:
                outcome = step.at_end(conversation)
                if outcome is not None:
                    self.candidates = None
                    return outcome
            return self._missing(step, ";", f"{self._so_far(conversation, alive)} before the client "
                                            f"{conversation.ending()}{self._meanwhile(conversation)}")
        if len(alive) == 1 and alive[0].source is step and self.block_of(step) is None \
                and (candidates.seen > KEPT or all(permit.left != 0 for permit in self.permits)):
            conversation.consume(candidates.commit())
        return WAITING

    # Texts of reports.

    def _missing(self, step: Step[Any], joint: str, so_far: str) -> Mismatch:
        """Return the mismatch: `step`, or all that is open of its block, has not come. The text ends with `so_far`."""
        block = self.block_of(step)
        if block is None:
            return Mismatch(f"expected {_wanted(step)}{joint} {so_far}")
        return Mismatch(f"{block.missing()}; {so_far}", details=places(block.heads()))

    @staticmethod
    def _so_far(conversation: Conversation, alive: list[Reading]) -> str:
        waiting = conversation.unclaimed()
        if not waiting and len(alive) == 1:
            return alive[0].message.progress()
        return f"got {counted(len(waiting), 'byte')} ({shorten(waiting)})" if waiting else "got nothing"

    def overdue(self, conversation: Conversation, step: Step[Any], duration: float, silent: bool) -> Mismatch:
        """Return the mismatch of a time-out after `duration` seconds: without any progress if `silent`, else in all."""
        allowed, meanwhile = self.allowed_meanwhile(conversation), self._meanwhile(conversation)
        if self.candidates is None or not step.reads:
            mismatch = step.overdue(conversation, duration, silent and not allowed)
            mismatch.summary += meanwhile
            return mismatch
        so_far = self._so_far(conversation, self.candidates.alive())
        got = f"; {so_far}" if so_far != "got nothing" else ""
        if silent and allowed and not got:
            return self._missing(step, ",", f"nothing but {allowed} received {lateness(duration, silent)}{got}")
        late = f"{'nothing received' if silent else 'not complete'} {lateness(duration, silent)}"
        return self._missing(step, ",", f"{late}{got}{meanwhile}")

    def _meanwhile(self, conversation: Conversation) -> str:
        """Return the end of a sentence that names the allowed messages that have come; "" if there were none."""
        allowed = self.allowed_meanwhile(conversation)
        return f"; {allowed} came meanwhile" if allowed else ""

    def allowed_meanwhile(self, conversation: Conversation) -> str:
        """Name the allowed messages that have come since the last other event; "" if there were none."""
        if not self._came or self._since != conversation.turn:
            return ""
        return f"{counted(self._came, 'allowed message')} ({shorten(self._last)})"

    # Time.

    def limits(self, conversation: Conversation, step: Step[Any]) -> tuple[Optional[float], Optional[float]]:
        """Return the `timeout` and the `within` of the due step, in seconds; None is no limit."""
        block = self.block_of(step) if self.blocks else None
        return step.timing.limits(conversation.session) if block is None else block.limits(conversation)

    def deadline(self) -> Optional[float]:
        """Return when the next heartbeat is due, in seconds of the clock; None is never."""
        return min((beat.due for beat in self.beats if beat.due is not None and not beat.every.stopped), default=None)

    def tick(self, conversation: Conversation) -> None:
        """Send the heartbeats that are due."""
        silent = output_ended(conversation)
        for beat in self.beats:
            if not silent and (beat.last is None
                               or (beat.last not in self.interleaved.waiting and not self.interleaved.under_way)):
                send: Optional[InterleavedSend] = beat.tick(conversation)
                if send is not None:
                    beat.last = send
                    self.interleaved.waiting.append(send)
            elif beat.due is not None and beat.due <= conversation.session.now:
                beat.due = conversation.session.now + beat.every.seconds
        self.interleaved.pump(conversation)

    # Bytes that have come too early.

    def may_be_allowed(self, conversation: Conversation) -> bool:
        """Return whether the pending bytes may be the beginning of an allowed message."""
        if conversation.ended or self.won is not None or self.candidates is None:
            return False
        return any(isinstance(reading.source, Permit) for reading in self.candidates.alive())

    def _judge_answering(self, conversation: Conversation) -> None:
        """With ``pipelining=False``: fail if a request has come before the previous one was answered."""
        session = conversation.session
        if session.pipelining or session.over or not conversation.excess:
            return
        answer = _answer_under_way(conversation)
        if answer is not None:
            early = conversation.unclaimed()
            session.fail(conversation, answer, Mismatch(
                f"the client sent {counted(len(early), 'byte')} before it was answered (pipelining=False): "
                f"{shorten(early)}", offset=0))


def race(conversation: Conversation, sources: list[Any]) -> Optional[Candidates]:
    """Return candidates for the next message, one for each source; None if there are no sources.

    If the test's own code raises here, fail the script and return None.
    """
    readings = []
    for source in sources:
        try:
            readings.append(Reading(source, source.message()))
        except Exception as error:  # noqa: BLE001 - the test's own callable: the report shows whatever it raises
            if source.is_expectation:
                raised = CallableRaised(f"the callable of {source.method}()", error)
                conversation.session.fail(source.conversation, source, raised)
            else:
                conversation.session.fail(conversation, None, ReadingRaised(f"{source} at {source.lines()[0]}", error))
            return None
    return Candidates(readings) if readings else None


def _wanted(step: Step[Any]) -> str:
    """Say what `step` expects, with the same text as on a connection that has no `Selection`."""
    if isinstance(step, ExpectMessage) and isinstance(step.framing, Framing):
        return step.expected(Message(step.framing, step.matcher))
    return str(step)


def _reads_alone(conversation: Conversation) -> bool:
    """Return whether the due step reads its message by itself, because nothing else could come when it began."""
    cursor, steps = conversation.cursor, conversation.steps
    return conversation.exact.joined is not None or (cursor < min(conversation.begun, len(steps))
                                                     and steps[cursor].reads)


def _answer_under_way(conversation: Conversation) -> Optional[Step[Any]]:
    """Return the send that answers the client's last message, if it is not handed over yet; else None.

    The answer is the first send written after that message: the client may take it for its answer, and go on. Until the
    operating system has its last byte, no client that waits for the answer can have sent more.
    """
    steps, position = conversation.steps, conversation.cursor
    while position and not steps[position - 1].is_expectation:
        position -= 1
        if steps[position].sends:
            return None
    if not position or not steps[position - 1].reads:
        return None
    position = conversation.cursor
    while position < len(steps) and not steps[position].is_expectation:
        if steps[position].sends:
            return steps[position]
        position += 1
    return None
