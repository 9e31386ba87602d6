"""A connection for which the order of messages is not the script's order alone.

A conversation has one of these as soon as something is written beside its steps: `allow`, `every`, `any_order`, or the
server's ``pipelining=False``. Without, its bytes go straight to the step that is due. What chooses between messages is
told in `candidates`.

Invariants

- Candidates are read, not taken: the bytes stay pending until one has won. (Where only the due expectation is left, it
  is committed to, and its bytes are taken as they come: memory stays bounded.)
- While actions are under way, the expectation that follows them is a candidate already, so that it makes no difference
  whether a message came before or after they were done. It may win; it is satisfied when its turn has come.
- What is written after a message was found to be an allowed one comes too late to claim it.
- An allowed message is no progress, neither of the step that waits nor against idleness: `progress` is what the
  conversation's was when nothing was pending, and is put back when what has come can only be an allowed message.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional, Union

from tcpclient_testing.errors import ScriptError

from .allowing import Allowed, Beat, Every, Permit
from .asides import Aside, Asides, mute
from .candidates import KEPT, Candidates, Reading, none_matches
from .expectations import CallableRaised, ExpectMessage, lateness
from .framing import Framing
from .message import Message
from .mismatches import Mismatch, ReadingRaised
from .steps import DONE, WAITING, Outcome, Step
from .unordered import Unordered, places
from .wording import counted, shorten

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["Beside", "race"]

__unittest = True

# So many bytes of the last allowed message are kept for reports.
_KEPT = 64


class Beside:
    """What stands beside the steps of one conversation."""

    __slots__ = ("permits", "beats", "blocks", "writing", "candidates", "won", "asides", "progress", "_came", "_last",
                 "_since", "_began")

    def __init__(self) -> None:
        self.permits: list[Permit] = []
        self.beats: list[Beat] = []
        self.blocks: list[Unordered] = []
        self.writing: Optional[Unordered] = None
        self.candidates: Optional[Candidates] = None
        self.won: Optional[Reading] = None
        self.asides = Asides()
        self.progress = 0.0
        self._came = 0
        self._last = b""
        self._since = -1.0
        self._began = 0.0

    # What is written.

    def put(self, written: Union[Allowed, Every], position: int) -> None:
        """From the step at `position` on this holds."""
        if isinstance(written, Allowed):
            self.permits.append(Permit(written, position))
        else:
            self.beats.append(Beat(written, position))

    def open_block(self, start: int, now: float) -> None:
        """What is written from `now` on may come in any order."""
        if self.writing is not None:
            raise ScriptError("any_order() is within any_order(); write one block after the other")
        self.writing = Unordered(start, now)

    def close_block(self, conversation: Conversation) -> None:
        """The block is written; if it is its turn, that begins now."""
        if self.unwritten(conversation) is not None:
            conversation.due = None
        block, self.writing = self.writing, None
        if block is not None and block.units:
            self.blocks.append(block)

    def unwritten(self, conversation: Conversation) -> Optional[Unordered]:
        """The block that is being written, if it would be its turn: so no step is due yet."""
        block = self.writing
        return block if block is not None and conversation.cursor >= block.start else None

    def check_awaited(self, step: Step[Any]) -> None:
        """Raise `ScriptError` for a step of the block that is being written."""
        if self.writing is not None and step.index >= self.writing.start:
            raise ScriptError(f"{step} was awaited within any_order(), where nothing happens before the block has "
                              "ended; await it after the `with` statement")

    def arrives(self, progress: float, now: float) -> None:
        """The first bytes of a message are there; what was before them was last progress at `progress`."""
        self.progress, self._began = progress, now

    def general_permits(self, conversation: Conversation) -> list[Permit]:
        """What the server allows on every connection, also on one that has no script yet."""
        everywhere = conversation.session.everywhere
        return [permit for permit in self.permits if permit.left != 0 and permit.allowed in everywhere]

    def keep_connection(self, other: Beside) -> None:
        """The scripts of two conversations change places, with these: what is of the connections changes back.

        That is what was sent and let through before the script was known; only what holds on all connections can have
        been.
        """
        for name in ("asides", "progress", "_came", "_last", "_since", "_began"):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, theirs)
            setattr(other, name, mine)
        left = {permit.allowed: permit for permit in other.permits}
        for permit in self.permits:
            same = left.get(permit.allowed)
            if same is not None:
                permit.left, same.left = same.left, permit.left

    def added(self, step: Step[Any]) -> None:
        """A step was appended to the script."""
        if self.writing is not None:
            self.writing.add(step)

    def run_limit(self, first: int) -> int:
        """How far a run of exact expectations that begins with the step `first` may reach."""
        limits = [permit.position for permit in self.permits if permit.position > first]
        limits += [block.start for block in self.blocks if block.start > first]
        if self.writing is not None:
            limits.append(self.writing.start)
        return min(limits, default=1 << 62)

    # What the conversation asks, at each turn of a step.

    def before(self, conversation: Conversation, step: Step[Any]) -> Optional[Outcome]:
        """The outcome of the step whose turn it is, where it is decided here; else None."""
        if conversation.sending:
            return None
        if self.writing is not None and step.index >= self.writing.start:
            return WAITING
        if not step.is_expectation and step.method != "start_tls" and conversation.session.pipelining:
            return None  # what came after the message that it follows comes after it
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
        """The script can't go on for the moment: attend to what stands beside it."""
        self.look(conversation)
        self._judge_answering(conversation)
        for beat in self.beats:
            beat.start(conversation)
        if self.writing is not None:
            conversation.session.remind_of_unwritten()
        if not conversation.session.over:
            self.asides.pump(conversation)

    def look(self, conversation: Conversation) -> None:
        """Take the allowed messages that have come; remember the expectation that has won, if one has."""
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
        """What was pending is no message any more: nothing has been read of the next one."""
        self.candidates = self.won = None

    def let_through(self, conversation: Conversation, winner: Reading) -> None:
        """An allowed message has come: take its bytes, count it, and answer it."""
        self.candidates = None
        self._last = conversation.unclaimed(min(winner.end, _KEPT))
        conversation.consume(winner.end)
        now = conversation.session.now
        # It is no progress that it has come; but while it came, nothing else could.
        conversation.progress = min(self.progress + (now - self._began), now)
        if conversation.pending:
            self.arrives(conversation.progress, now)
            conversation.progress = now
        self._came = self._came + 1 if conversation.turn == self._since else 1
        self._since = conversation.turn
        assert winner.result is not None
        reply = winner.source.came(conversation, winner.result.result)
        if reply is not None:
            self.asides.waiting.append(reply)
            self.asides.pump(conversation)

    def _sources(self, conversation: Conversation) -> list[Any]:
        """The candidates of now; none where the script alone decides."""
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
            return permits  # it is asked for its length when it is its turn, not before
        return [*permits, step]

    def block_of(self, step: Step[Any]) -> Optional[Unordered]:
        """The block in which `step` is one of the open expectations."""
        for block in self.blocks:
            if any(unit[0] is step for unit in block.units):
                return block
        return None

    def _decide(self, conversation: Conversation, step: Step[Any]) -> Outcome:
        """What became of the expectation whose turn it is, or of one that may come in its place."""
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

    # What it says.

    def _missing(self, step: Step[Any], joint: str, so_far: str) -> Mismatch:
        """Say that `step`, or all that is left of its block, has not come; `so_far` follows."""
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
        """Say what is missing after so many seconds."""
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
        """Add to a sentence which allowed messages have come."""
        allowed = self.allowed_meanwhile(conversation)
        return f"; {allowed} came meanwhile" if allowed else ""

    def allowed_meanwhile(self, conversation: Conversation) -> str:
        """Name the allowed messages that have come since anything else happened; "" if there were none."""
        if not self._came or self._since != conversation.turn:
            return ""
        return f"{counted(self._came, 'allowed message')} ({shorten(self._last)})"

    # Time.

    def limits(self, conversation: Conversation, step: Step[Any]) -> tuple[Optional[float], Optional[float]]:
        """The `timeout` and the `within` of the step whose turn it is."""
        block = self.block_of(step) if self.blocks else None
        return step.timing.limits(conversation.session) if block is None else block.limits(conversation)

    def deadline(self) -> Optional[float]:
        """When the next heartbeat is due."""
        return min((beat.due for beat in self.beats if beat.due is not None and not beat.every.stopped), default=None)

    def tick(self, conversation: Conversation) -> None:
        """Send the heartbeats that are due."""
        silent = mute(conversation)
        for beat in self.beats:
            if not silent and (beat.last is None
                               or (beat.last not in self.asides.waiting and not self.asides.under_way)):
                aside: Optional[Aside] = beat.tick(conversation)
                if aside is not None:
                    beat.last = aside
                    self.asides.waiting.append(aside)
            elif beat.due is not None and beat.due <= conversation.session.now:
                beat.due = conversation.session.now + beat.every.seconds
        self.asides.pump(conversation)

    # Judging what is there where nothing may be.

    def may_be_allowed(self, conversation: Conversation) -> bool:
        """Whether what has come may be the beginning of an allowed message."""
        if conversation.ended or self.won is not None or self.candidates is None:
            return False
        return any(isinstance(reading.source, Permit) for reading in self.candidates.alive())

    def _judge_answering(self, conversation: Conversation) -> None:
        """With ``pipelining=False``: no request may have come while another one waits for its answer."""
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
    """Let these begin to read the next message; None if there are none, or if the test's own code fails at that."""
    readings = []
    for source in sources:
        try:
            readings.append(Reading(source, source.message()))
        except Exception as error:  # noqa: BLE001 - a callable of the test's: whatever it raises is in the report
            if source.is_expectation:
                conversation.session.fail(source.conversation, source, CallableRaised(source, error))
            else:
                conversation.session.fail(conversation, None, ReadingRaised(f"{source} at {source.lines()[0]}", error))
            return None
    return Candidates(readings) if readings else None


def _wanted(step: Step[Any]) -> str:
    """Say what `step` expects, as it does where nothing is beside it."""
    if isinstance(step, ExpectMessage) and isinstance(step.framing, Framing):
        return step.expected(Message(step.framing, step.matcher))
    return str(step)


def _reads_alone(conversation: Conversation) -> bool:
    """Whether the due step has begun to read its message by itself, when there was nothing else that could come."""
    cursor, steps = conversation.cursor, conversation.steps
    return conversation.exact.joined is not None or (cursor < min(conversation.begun, len(steps))
                                                     and steps[cursor].reads)


def _answer_under_way(conversation: Conversation) -> Optional[Step[Any]]:
    """The send that answers the client's last message, if it has not been handed over yet.

    It is the first one written after the message: a client may take that for its answer, and go on. Until its last byte
    was handed to the operating system, no client that waits for it can have sent more.
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
