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

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch, ReadingRaised
from tcpclient_testing.engine.steps.base import AGAIN, DONE, WAITING, Outcome, Script, Step
from tcpclient_testing.engine.wording import brief, counted, lateness
from tcpclient_testing.errors import ScriptError

from .any_order import Unordered, places
from .candidates import KEPT, Candidates, Reading, none_matches
from .interleaving import output_ended, pump, queue
from .pipelining import judge_answering
from .rules import Allowed, Every, HeartbeatTimer, Permit

if TYPE_CHECKING:
    from collections.abc import Container

    from tcpclient_testing.engine.connection.interleaved import InterleavedSends

    from .context import ConversationContext

__all__ = ["Selection", "race"]

__unittest = True

# How many bytes of the last allowed message are kept for reports.
_KEPT = 64

_NOTHING = "got nothing"


class Selection:
    """What applies to one conversation in addition to the order of its steps.

    - `permits`, `beats`: its `allow()` and `every()`, with the step from which each applies
    - `blocks`: its `any_order()` blocks that have open expectations; `writing`: the block that is still being written
    - `candidates`: the readings of the next message; `won`: the reading of an expectation that has won
    - `lane`: what the server sends that belongs to no step
    - `progress`: when the conversation last made progress before the message that is coming in
    """

    __slots__ = ("permits", "beats", "blocks", "writing", "candidates", "won", "lane", "progress", "_came", "_last",
                 "_since", "_began")

    def __init__(self, lane: InterleavedSends) -> None:
        self.permits: list[Permit] = []
        self.beats: list[HeartbeatTimer] = []
        self.blocks: list[Unordered] = []
        self.writing: Optional[Unordered] = None
        self.candidates: Optional[Candidates] = None
        self.won: Optional[Reading] = None
        self.lane = lane
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

    def open_block(self, start: int, now: float, remind: Callable[[], None]) -> None:
        """Begin an `any_order()` block: the messages written from `now` on may come in any order.

        `remind` makes sure that a client which waits for the end of the block is noticed.
        """
        if self.writing is not None:
            raise ScriptError("any_order() is within any_order(); write one block after the other")
        self.writing = Unordered(start, now, remind)

    def close_block(self, conversation: ConversationContext) -> None:
        """End the block that is being written. If its turn has come already, its time-outs begin now."""
        if self.unfinished_block(conversation.script) is not None:
            conversation.timer.clear()
        block, self.writing = self.writing, None
        if block is not None and block.units:
            self.blocks.append(block)

    def goes_on(self) -> bool:
        """Return whether something that belongs to no step may still be sent, or come: `every()` and `allow()`."""
        return any(not beat.every.stopped for beat in self.beats) or any(permit.left != 0 for permit in self.permits)

    def unfinished_block(self, script: Script) -> Optional[Unordered]:
        """Return the block that is being written, if its turn has come (so no step is due yet); else None."""
        block = self.writing
        return block if block is not None and script.cursor.position >= block.start else None

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if `step` belongs to the block that is being written."""
        if self.writing is not None and step.index >= self.writing.start:
            raise ScriptError(f"{step} was awaited within any_order(), where nothing happens before the block has "
                              "ended; await it after the `with` statement")

    def arrives(self, progress: float, now: float) -> None:
        """The first bytes of a message came at `now`; the last progress before them was at `progress`."""
        self.progress, self._began = progress, now

    def general_permits(self, everywhere: Container[object]) -> list[Permit]:
        """Return the permits of the rules for all connections: they apply to one that has no script yet, too."""
        return [permit for permit in self.permits if permit.left != 0 and permit.allowed in everywhere]

    @property
    def idle(self) -> bool:
        """Whether nothing applies: no rule, and no block."""
        return not (self.permits or self.beats or self.blocks or self.writing)

    def exchange_rules(self, other: Selection) -> None:
        """Exchange the rules and blocks, which belong to the scripts, when two conversations exchange their scripts.

        What was sent and let through stays with the connection. Until the script of a connection is known, only an
        `allow()` or `every()` for all connections applies.
        """
        self.permits, other.permits = other.permits, self.permits
        self.beats, other.beats = other.beats, self.beats
        self.blocks, other.blocks = other.blocks, self.blocks
        self.writing, other.writing = other.writing, self.writing
        self.forget()
        other.forget()
        left = {permit.allowed: permit for permit in other.permits}
        for permit in self.permits:
            same = left.get(permit.allowed)
            if same is not None:
                permit.exchange_left(same)

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

    def before(self, conversation: ConversationContext, step: Step[Any]) -> Optional[Outcome]:
        """Return the outcome of the due step if it is decided here; None if the step has to proceed by itself."""
        if conversation.outbox.sending:
            return None
        environment = conversation.environment
        if self.writing is not None and step.index >= self.writing.start:
            return WAITING
        if not step.is_expectation and not step.starts_tls and environment.pipelining:
            return None  # an action: what has come after the message before it is for later steps
        self.look(conversation)
        if not step.reads:
            if not environment.pipelining:
                judge_answering(conversation)
            return WAITING if environment.over else None
        if environment.over:
            return WAITING
        if self.candidates is None and self.won is None:
            return None
        outcome = self._decide(conversation, step)
        if outcome is WAITING:
            conversation.arm()
        return outcome

    def after(self, conversation: ConversationContext) -> None:
        """The script has to wait: let allowed messages through, start heartbeats, and write interleaved sends."""
        environment = conversation.environment
        self.look(conversation)
        if not environment.pipelining:
            judge_answering(conversation)
        for beat in self.beats:
            beat.start(conversation)
        if self.writing is not None:
            self.writing.remind()
        if self.lane.waiting and not environment.over:
            pump(conversation, self.lane)

    def look(self, conversation: ConversationContext) -> None:
        """Consume the allowed messages that have come. If an expectation has won, keep its reading in `won`."""
        while self.won is None and not conversation.environment.over:
            if self.candidates is None or not self.candidates.committed:
                sources = self._sources(conversation)
                if self.candidates is None or self.candidates.sources != sources:
                    self.candidates = race(conversation, sources) if sources else None
                if self.candidates is None:
                    return
            winner = self.candidates.run(conversation.inbox.pending)
            if winner is None:
                return
            if isinstance(winner.source, Permit):
                self.let_through(conversation, winner)
            else:
                self.won = winner

    def forget(self) -> None:
        """Discard all readings, because the pending bytes were discarded."""
        self.candidates = self.won = None

    def let_through(self, conversation: ConversationContext, winner: Reading) -> None:
        """Accept an allowed message that has come: consume its bytes, count it, and send its reply, if it has one."""
        inbox, turn = conversation.inbox, conversation.timer.turn
        self.candidates = None
        self._last = inbox.unclaimed(min(winner.end, _KEPT))
        inbox.consume(winner.end)
        now = conversation.environment.now
        # An allowed message is not progress. But nothing else could come meanwhile, so that time is not counted.
        progress = min(self.progress + (now - self._began), now)
        if inbox.pending:
            self.arrives(progress, now)
            progress = now
        inbox.touch(progress)
        self._came = self._came + 1 if turn == self._since else 1
        self._since = turn
        winner.source.came()
        allowed = winner.source.allowed
        if allowed.source is not None:
            assert winner.result is not None
            if queue(conversation, self.lane, allowed, winner.result.result) is not None:
                pump(conversation, self.lane)

    def _sources(self, conversation: ConversationContext) -> list[Any]:
        """Return what may come next, in order of precedence; an empty list if the script alone decides."""
        script, outbox = conversation.script, conversation.outbox
        if _reads_alone(conversation):
            return []
        permits: list[Any] = [permit for permit in self.permits if permit.holds(script)]
        position = outbox.next if outbox.sending else script.cursor.position
        steps = script.steps
        here = position
        while position < len(steps) and not steps[position].is_expectation and not steps[position].starts_tls:
            position += 1
        if position == len(steps) or not steps[position].reads:
            return permits
        step = steps[position]
        block = self.block_of(step)
        if block is not None:
            return permits + block.heads()
        if not self.permits or (self.writing is not None and position >= self.writing.start):
            return permits
        if position > here and not step.begins_early():
            return permits  # its callable is asked for the length when the step is due, not before
        return [*permits, step]

    def block_of(self, step: Step[Any]) -> Optional[Unordered]:
        """Return the block in which `step` is one of the open expectations; None if there is none."""
        for block in self.blocks:
            if any(unit[0] is step for unit in block.units):
                return block
        return None

    def _decide(self, conversation: ConversationContext, step: Step[Any]) -> Outcome:
        """Return the outcome of the due expectation, or of another one of its block that was met in its place."""
        won, candidates, inbox = self.won, self.candidates, conversation.inbox
        if won is not None:
            assert won.result is not None
            goes_on = won.source.take(won.result.result)
            block = None if goes_on else self.block_of(won.source)
            if block is not None:
                block.move_up(won.source, conversation.script)
                if not block.units:
                    self.blocks.remove(block)
            inbox.consume(won.end)
            self.won = self.candidates = None
            now = conversation.environment.now
            self.arrives(now, now)
            self._came = 0
            return AGAIN if goes_on else DONE
        assert candidates is not None
        alive = candidates.alive()
        if not alive:
            return none_matches(candidates, inbox.unclaimed(256))
        if inbox.ended:
            if not inbox.pending and not candidates.committed:
                outcome = step.at_end(conversation)
                if outcome is not None:
                    self.candidates = None
                    return outcome
            ended = f"before the client {conversation.ending()}{self._meanwhile(conversation.timer.turn)}"
            return self._missing(step, ";", self._so_far(inbox.unclaimed(), alive), f" {ended}")
        if len(alive) == 1 and alive[0].source is step and self.block_of(step) is None \
                and (candidates.seen > KEPT or all(permit.left != 0 for permit in self.permits)):
            inbox.consume(candidates.commit())
        return WAITING

    # Texts of reports.

    def _missing(self, step: Step[Any], joint: str, came: tuple[bytes, str], late: str) -> Mismatch:
        """Return the mismatch: `step`, or all that is open of its block, has not come.

        The text ends with what `came`, which is given as bytes and as a text, and how `late` that is.
        """
        block = self.block_of(step)
        if block is None:
            unended = step.unended(came[0])
            return step.placed(Mismatch(f"{unended or f'expected {step.expectation()}{joint} {came[1]}'}{late}"))
        return Mismatch(f"{block.missing()}; {came[1]}{late}", details=places(block.heads()))

    @staticmethod
    def _so_far(waiting: bytes, alive: list[Reading]) -> tuple[bytes, str]:
        """Return what has come since the last boundary, as bytes and as a text."""
        if not waiting and len(alive) == 1:
            message = alive[0].message
            return message.so_far(), message.progress()
        return waiting, f"got {counted(len(waiting), 'byte')} ({brief(waiting)})" if waiting else _NOTHING

    def overdue(self, conversation: ConversationContext, step: Step[Any], duration: float, silent: bool) -> Mismatch:
        """Return the mismatch of a time-out after `duration` seconds: without any progress if `silent`, else in all."""
        turn = conversation.timer.turn
        allowed, meanwhile = self.allowed_meanwhile(turn), self._meanwhile(turn)
        if self.candidates is None or not step.reads:
            mismatch = step.overdue(conversation, duration, silent and not allowed)
            if meanwhile:
                mismatch.add(meanwhile)
            return mismatch
        late = f" {lateness(duration, silent)}"
        came = self._so_far(conversation.inbox.unclaimed(), self.candidates.alive())
        if not silent and self.block_of(step) is not None:  # `within` is that of the block, and some of it has come
            so_far = "" if came[1] == _NOTHING else f"; {came[1]}"
            return self._missing(step, ",", (b"", "not complete"), f"{late}{so_far}{meanwhile}")
        if came[1] == _NOTHING:
            but = f"nothing but {allowed}" if allowed else "nothing"
            return self._missing(step, ",", (b"", f"{but} received"), late)
        return self._missing(step, ",", came, (", then nothing" if silent else "") + late + meanwhile)

    def _meanwhile(self, turn: float) -> str:
        """Return the end of a sentence that names the allowed messages that have come; "" if there were none."""
        allowed = self.allowed_meanwhile(turn)
        return f"; {allowed} came meanwhile" if allowed else ""

    def allowed_meanwhile(self, turn: float) -> str:
        """Name the allowed messages that have come in the due step's `turn`; "" if there were none."""
        if not self._came or self._since != turn:
            return ""
        return f"{counted(self._came, 'allowed message')} ({brief(self._last)})"

    # Time.

    def limits(self, conversation: ConversationContext, step: Step[Any]) -> tuple[Optional[float], Optional[float]]:
        """Return the `timeout` and the `within` of the due step, in seconds; None is no limit."""
        block = self.block_of(step) if self.blocks else None
        environment = conversation.environment
        return step.timing.limits(environment) if block is None \
            else block.limits(environment, conversation.timer.turn)

    def deadline(self) -> Optional[float]:
        """Return when the next heartbeat is due, in seconds of the clock; None is never."""
        return min((beat.due for beat in self.beats if beat.due is not None and not beat.every.stopped), default=None)

    def tick(self, conversation: ConversationContext) -> None:
        """Send the heartbeats that are due."""
        ended = output_ended(conversation)
        for beat in self.beats:
            beat.tick(conversation, self.lane, ended=ended)
        pump(conversation, self.lane)

    # Bytes that have come too early.

    def may_be_allowed(self, conversation: ConversationContext) -> bool:
        """Return whether the pending bytes may be the beginning of an allowed message."""
        if conversation.inbox.ended or self.won is not None or self.candidates is None:
            return False
        return any(isinstance(reading.source, Permit) for reading in self.candidates.alive())


def race(conversation: ConversationContext, sources: list[Any]) -> Optional[Candidates]:
    """Return candidates for the next message, one for each source; None if there are no sources.

    If the test's own code raises here, fail the script and return None.
    """
    readings = []
    for source in sources:
        try:
            readings.append(Reading(source, source.message(conversation)))
        except Exception as error:  # noqa: BLE001 - the test's own callable: the report shows whatever it raises
            if source.is_expectation:
                conversation.fail(source, CallableRaised(f"the {source.asks} of {source.method}()", error))
            else:
                conversation.fail(None, ReadingRaised(f"{source} at {source.lines()[0]}", error))
            return None
    return Candidates(readings) if readings else None


def _reads_alone(conversation: ConversationContext) -> bool:
    """Return whether the due step reads its message by itself, because nothing else could come when it began."""
    script = conversation.script
    cursor, steps = script.cursor.position, script.steps
    run = conversation.exact
    return (run is not None and run.is_open) or (cursor < min(conversation.begun, len(steps)) and steps[cursor].reads)
