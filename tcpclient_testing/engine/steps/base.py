"""Steps: the entries of a script, and the handles with which a test asks for their outcome.

A step is written once, gets its turn once, and ends once:

    waiting -> due -> satisfied | failed | not reached

The step itself does not store this state. A conversation has a cursor: the steps before the cursor are satisfied, the
step at the cursor is due. So a run of a thousand steps that one read satisfies costs one assignment, and a step and its
conversation can't disagree.

Every step has these methods:

- `begin` is called when its turn comes.
- `proceed` is called then, and whenever something has happened. It returns WAITING, DONE, QUEUED (its bytes are in the
  conversation's outbox; the next step may add more to the same write) or the Mismatch with which the script fails.
- `overdue` says what is missing when its time is over.

`Timing` holds the time-outs of a step as a script gives them: `timeout=`, `within=` and `after=`, in seconds.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.engine.source_lines import SourceLine

__all__ = [
    "DEFAULT_TIMING", "DONE", "QUEUED", "SCALE", "UNSET", "UNTIMED", "WAITING", "Outcome", "Step", "TimedStep",
    "Timing", "timing_of",
]

__unittest = True

T = TypeVar("T")

#: The name of the environment variable that multiplies time-outs, for slow machines.
SCALE = "TCPCLIENT_TESTING_TIMEOUT_SCALE"


class StepState:
    """One of the values, other than a mismatch, that `Step.proceed` can return."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


WAITING: Final = StepState("WAITING")

DONE: Final = StepState("DONE")

QUEUED: Final = StepState("QUEUED")

Outcome = Union[StepState, Mismatch]


class Timing:
    """How long a step may take, in seconds; None means no limit.

    - `timeout`: the longest time without progress, once it is the step's turn.
    - `within`: the longest time in all.
    - `after`: the step must not be satisfied before this time.
    - `default`: use the server's time-out instead of `timeout`.

    These are the values as written; `limits` returns those that apply.
    """

    __slots__ = ("timeout", "within", "after", "default")

    def __init__(self, timeout: Optional[float], within: Optional[float], after: Optional[float],
                 default: bool) -> None:
        self.timeout = timeout
        self.within = within
        self.after = after
        self.default = default

    def limits(self, session: Session) -> tuple[Optional[float], Optional[float]]:
        """Return the `timeout` and `within` that apply on a server: its default, or what is written times its scale.

        With `after`, only the time from `after` to `within` is multiplied.
        """
        timeout, within, after = self.timeout, self.within, self.after or 0.0
        if self.default:
            timeout = session.timeout
        elif timeout is not None:
            timeout *= session.scale
        return timeout, None if within is None else after + (within - after) * session.scale


DEFAULT_TIMING: Final = Timing(None, None, None, True)

UNTIMED: Final = Timing(None, None, None, False)


class Step(Generic[T]):
    """One entry of a script, and the handle on its outcome.

    Ignore it, await it (``line = await server.expect_line()``), or ask later: `done`, `result` and `exception` work as
    those of an `asyncio.Future` do.
    """

    __slots__ = ("conversation", "index", "origin", "timing", "value", "asked")

    #: The name of the method that writes this step.
    method = "step"
    #: Whether the client has to do it (an expectation), rather than the server (an action).
    is_expectation = True
    #: Whether it may follow, and be followed by, any step, so that `check_order` can be skipped.
    free = False
    #: Whether it is a setting of the server, and part of no connection's script.
    is_setting = False
    #: Whether it may be written before the first expect_connect().
    may_come_first = False
    #: Whether its bytes may go out in one write with those of the send before it.
    sends = False
    #: Whether it expects a message, which `message()` begins to read.
    reads = False
    #: Whether it may wait for ever. Idleness is then checked as if no step were due.
    idle = False

    conversation: Conversation
    index: int
    timing: Timing
    value: T
    #: Set when the test has asked for the outcome; absent before.
    asked: bool

    def __init__(self, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        self.origin = origin
        self.timing = timing

    # What the conversation calls.

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        """Begin the step's turn; return a mismatch if it can't even begin."""
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        """Do what can be done now; return the outcome."""
        raise NotImplementedError

    def survives(self, conversation: Conversation) -> bool:
        """Return whether the step may have its turn on a connection whose TLS is broken."""
        return False

    def timer_fired(self, conversation: Conversation) -> None:
        """Note that the time for which this step set the conversation's alarm has come."""

    def overdue(self, conversation: Conversation, seconds: float, silent: bool) -> Mismatch:
        """Say what is missing after `seconds`: seconds without any progress if `silent`, else in all."""
        raise NotImplementedError

    def written(self) -> T:
        """Return the result of a step that is satisfied."""
        return self.value

    def take(self, result: Any) -> None:
        """Take the result of a message that `Candidates` has read."""

    def message(self) -> Any:
        """Begin to read the message of a step that `reads`; return a `Message`."""
        raise NotImplementedError

    def at_end(self, conversation: Conversation) -> Optional[Outcome]:
        """Return the outcome if the client's stream ends before this message begins; None if that is a failure."""
        return None

    # What reports use.

    def arguments(self) -> str:
        """Return the arguments as the script has them, shortened."""
        return ""

    def __str__(self) -> str:
        return f"{self.method}({self.arguments()})"

    def lines(self) -> list[SourceLine]:
        """Return where the step was written: its own line, then those of its callers up to the test."""
        from tcpclient_testing.engine.source_lines import source_lines
        return source_lines(self.origin)

    # What users call.

    @property
    def satisfied(self) -> bool:
        """Whether the step has been done as the script says."""
        return self.index < self.conversation.cursor

    def done(self) -> bool:
        """Return True if the step is satisfied, or can't be any more."""
        self.asked = True
        return self.satisfied or self.conversation.session.over

    def result(self, timeout: Optional[float] = None) -> T:
        """Return what the step received (an expectation) or None (an action).

        Raises `ExpectationError` if the script failed, or the server was left, before the step was satisfied.

        If the step is not done yet, this raises `asyncio.InvalidStateError`; a threaded server waits for the step
        instead, for at most `timeout` seconds (None: no limit), and then raises `TimeoutError`. On other servers a
        `timeout` is a `TypeError`.
        """
        self.asked = True
        if not self.satisfied:
            self.conversation.session.host.raise_unsatisfied(self, timeout)
        return self.written()

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return the exception that `result` would raise, or None; raise or wait as `result` does if not done yet."""
        self.asked = True
        if self.satisfied:
            return None
        return self.conversation.session.host.exception_of(self, timeout)

    def __await__(self) -> Generator[Any, None, T]:
        self.asked = True
        if not self.satisfied:
            yield from self.conversation.session.host.wait_for(self)
        return self.written()

    def __repr__(self) -> str:
        line = self.lines()[0]
        where = f"step {self.index + 1} of connection {self.conversation.number}"
        never = "" if hasattr(self, "asked") else ", not awaited"
        return f"<{where}: {self} at {line}, {self.status()}{never}>"

    def status(self) -> str:
        """Return the state for a report: satisfied, failed, waiting, unfinished or not reached."""
        failure = self.conversation.session.failure
        if failure is not None and failure.step is self:
            return "failed"
        if self.satisfied:
            return "satisfied"
        conversation = self.conversation
        begun = conversation.gate is None and (conversation.accepted or not self.index)
        if begun and conversation.has_turn(self):
            return "waiting" if failure is None else "unfinished"
        return "not reached"


class TimedStep(Step[None]):
    """A step that lasts `duration` seconds from its turn on; then it is `over`."""

    __slots__ = ("duration", "over")

    def __init__(self, duration: float, origin: Origin) -> None:
        super().__init__(origin, UNTIMED)
        self.duration = duration
        self.over = False

    def arguments(self) -> str:
        return f"{self.duration:g}"

    def written(self) -> None:
        return None

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        conversation.alarm(self.duration)
        return None

    def timer_fired(self, conversation: Conversation) -> None:
        self.over = True


class _Unset:
    """The default of `timeout=`: the time-out of the server."""

    def __repr__(self) -> str:
        return "the server's"


UNSET: Any = _Unset()


def timing_of(method: str, timeout: Any, within: Any, after: Any = None) -> Timing:
    """Return the checked time-outs of a step, all in seconds; `method` is named in errors.

    Raises `TypeError` if one is not a number, and `ValueError` if one is negative or if `after` exceeds `within`.
    """
    if timeout is UNSET and within is None and after is None:
        return DEFAULT_TIMING
    checked = None if timeout is UNSET else checked_seconds(f"{method}(timeout=...)", timeout)
    within = checked_seconds(f"{method}(within=...)", within)
    after = checked_seconds(f"{method}(after=...)", after)
    if within is not None and after is not None and after > within:
        raise ValueError(f"{method}(after={after:g}, within={within:g}) can't be: after is later than within")
    # within=30 alone means thirty seconds: the server's time-out does not apply.
    return Timing(checked, within, after, timeout is UNSET and within is None)
