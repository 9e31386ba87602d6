"""Steps: the entries of a script, and the handles by which a test asks how one of them went.

A step is written once, gets its turn once, and ends once:

    waiting -> due -> satisfied | failed | not reached

The step itself keeps no such state. A conversation has a cursor; what stands before the cursor is satisfied, what
stands at it is due. So a run of a thousand steps that one read satisfies costs one assignment, and a step and its
conversation can't disagree.

Every step knows how to do its part: `begin` when its turn comes, `proceed` then and whenever something has happened,
and how to say that it is overdue. `proceed` returns WAITING, DONE, QUEUED (its bytes are in the conversation's outbox;
the next step may join them) or the Mismatch that is the script's failure.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final, Generic, Optional, TypeVar, Union

from .mismatches import Mismatch
from .origin import Origin

if TYPE_CHECKING:
    from .conversation import Conversation
    from .session import Session
    from .source_lines import SourceLine

__all__ = ["DEFAULT_TIMING", "DONE", "QUEUED", "UNTIMED", "WAITING", "Lasting", "Outcome", "Step", "Timing"]

__unittest = True

T = TypeVar("T")


class Signal:
    """One of the things that `Step.proceed` can answer, beside a mismatch."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


WAITING: Final = Signal("WAITING")
DONE: Final = Signal("DONE")
QUEUED: Final = Signal("QUEUED")

Outcome = Union[Signal, Mismatch]


class Timing:
    """How long a step may take, in seconds; None is for ever.

    `timeout` is the longest time without progress once it is the step's turn, `within` the longest time in all,
    and `after` the time before which the step must not be satisfied. `default` stands for "as the server says". These
    are as they are written; `limits` tells how long they are.
    """

    __slots__ = ("timeout", "within", "after", "default")

    def __init__(self, timeout: Optional[float], within: Optional[float], after: Optional[float],
                 default: bool) -> None:
        self.timeout = timeout
        self.within = within
        self.after = after
        self.default = default

    def limits(self, session: Session) -> tuple[Optional[float], Optional[float]]:
        """`timeout` and `within` as they hold on a server: its default, and what is written multiplied by its scale.

        Of a `within` that begins with an `after`, the time behind that is multiplied.
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

    It can be ignored, awaited (``line = await server.expect_line()``), or asked later: `done`, `result` and `exception`
    answer as those of an `asyncio.Future` do.
    """

    __slots__ = ("conversation", "index", "origin", "timing", "value", "asked")

    #: The method by which users write this step.
    method = "step"
    #: Whether the client has to do it, rather than the server.
    is_expectation = True
    #: Whether any step may stand before it and after it, so that `Session.check` needn't be asked.
    free = False
    #: Whether it is about the server, and part of no connection's script.
    is_setting = False
    #: Whether it may be written before the first expect_connect().
    may_come_first = False
    #: Whether its bytes may travel in one write with those of the send before it.
    sends = False
    #: Whether it expects a message: bytes that can be read as such by `message()`.
    reads = False
    #: Whether it may wait for ever: it is then as if no step were due.
    idle = False

    conversation: Conversation
    index: int
    timing: Timing
    value: T
    #: Set when somebody has asked for the outcome; absent before.
    asked: bool

    def __init__(self, origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        self.origin = origin
        self.timing = timing

    # What the conversation calls.

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        """Take note that it is this step's turn; a mismatch if it can't even begin."""
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        """Do what can be done now."""
        raise NotImplementedError

    def survives(self, conversation: Conversation) -> bool:
        """Whether the connection's TLS may be broken when it is this step's turn."""
        return False

    def timer_fired(self, conversation: Conversation) -> None:
        """Take note that the time for which this step asked the conversation has come."""

    def overdue(self, conversation: Conversation, seconds: float, silent: bool) -> Mismatch:
        """Say what is missing after `seconds`: without any progress if `silent`, else in all."""
        raise NotImplementedError

    def written(self) -> T:
        """Return the result of a step that is satisfied."""
        return self.value

    def take(self, result: Any) -> None:
        """Take the result of a message that was read elsewhere (see `candidates`)."""

    def message(self) -> Any:
        """Begin to read the message of a step that `reads`: an `expectations.Message`."""
        raise NotImplementedError

    def at_end(self, conversation: Conversation) -> Optional[Outcome]:
        """The outcome if the client's stream ends before the first byte of this message; None if that is no good."""
        return None

    # What reports use.

    def arguments(self) -> str:
        """The arguments as the script has them, shortened."""
        return ""

    def __str__(self) -> str:
        return f"{self.method}({self.arguments()})"

    def lines(self) -> list[SourceLine]:
        """Where the step was written: its own line, then those of its callers up to the test."""
        from .source_lines import source_lines
        return source_lines(self.origin)

    # What users call.

    @property
    def satisfied(self) -> bool:
        """Whether the step's part was done as the script says."""
        return self.index < self.conversation.cursor

    def done(self) -> bool:
        """Return True if the step is satisfied, or never will be."""
        self.asked = True
        return self.satisfied or self.conversation.session.over

    def result(self, timeout: Optional[float] = None) -> T:
        """Return what the step received (an expectation) or None (an action).

        Raises `ExpectationError` if the script failed or the server was left before the step was satisfied, and
        `asyncio.InvalidStateError` if the step is not done yet. On a threaded server it waits for the step instead,
        for `timeout` seconds at most, and raises `TimeoutError` then.
        """
        self.asked = True
        if not self.satisfied:
            self.conversation.session.host.raise_unsatisfied(self, timeout)
        return self.written()

    def exception(self, timeout: Optional[float] = None) -> Optional[BaseException]:
        """Return the exception that `result` would raise, or None; raise `InvalidStateError` if not done yet."""
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
        """One word or two for a report: satisfied, failed, waiting, not reached."""
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


class Lasting(Step[None]):
    """A step that takes a time of its own, `duration` seconds from its turn on; afterwards it is `over`."""

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
