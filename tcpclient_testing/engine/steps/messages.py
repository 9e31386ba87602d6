"""Expectations of messages: the steps that read what the client sends.

They pass the stream through a framing's reader to a matcher's judge, piece by piece. So the first byte that can't be
right is noticed when it arrives.

For the client's stream, consecutive `expect_bytes` steps (a run) are one long expectation. So their bytes are joined,
some hundreds of steps at a time, and each chunk that arrives is compared once: `bytes.startswith` with an offset is a
memcmp that copies nothing. The ends of the joined pieces tell which step a byte belongs to.

    closed --open--> open at `offset` --all compared--> closed
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.exact import Exactly, StartsWith
from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.engine.matching.reading import Message, takes_no_bytes
from tcpclient_testing.engine.mismatches import CallableRaised, MessageMissing, Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import brief, counted, first_difference, lateness, shorten

from .base import DONE, WAITING, Outcome, Step
from .timing import DEFAULT_TIMING, Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["MOST_BYTES", "MOST_STEPS", "ExactRun", "ExpectBytes", "ExpectBytesTimed", "ExpectMessage"]

__unittest = True

T = TypeVar("T")

#: A run joins at most so many steps and bytes. That is enough to make comparing cheap compared with reading, and little
#: enough to make the cost of the copy unnoticeable.
MOST_STEPS = 512
MOST_BYTES = 65536


class ExpectBytes(Step[bytes]):
    """`expect_bytes(data)`: the client sends exactly these bytes next, in any number of pieces.

    It has no reader and no judge of its own: a run of such steps is compared as one (`ExactRun`). A script may have
    some hundred thousand of them, so each has as few attributes as possible. A step with its own time-out is of another
    class, `ExpectBytesTimed`.
    """

    __slots__ = ("data",)
    method = "expect_bytes"
    reads = True
    free = True
    timing = DEFAULT_TIMING

    def __init__(self, data: bytes, origin: Origin) -> None:
        self.data = data
        self.origin = origin

    def arguments(self) -> str:
        return shorten(self.data)

    def written(self) -> bytes:
        return self.data

    def expectation(self) -> str:
        return f"{counted(len(self.data), 'byte')} {brief(self.data)}"

    def message(self, context: Context) -> Message:
        """Begin to read the bytes as a message, for use when they are one of several candidates."""
        return Message(FixedLength(len(self.data)), Exactly(self.data))

    def proceed(self, context: Context) -> Outcome:
        run = context.exact
        return (context.begin_runs(ExactRun()) if run is None else run).proceed(context)

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        return self.late(0 if context.exact is None else context.exact.received_of(self), duration, silent)

    def late(self, count: int, duration: float, silent: bool) -> Mismatch:
        """Say that only `count` bytes of these have come in time; see `overdue`."""
        if not count:
            got = f"nothing received {lateness(duration, silent)}"
        else:
            late = f", then nothing {lateness(duration, True)}" if silent else f" {lateness(duration, False)}"
            got = f"got only {count} ({brief(self.data[:count], count)}){late}"
        return self._missing(count, got)

    def ended(self, context: Context, count: int) -> Mismatch:
        """Say that the client's stream ended after `count` bytes of these."""
        if not count:
            return MessageMissing(f"the client {context.ending()} without sending the {self.expectation()}",
                                  self.data, b"", _LET_SEND)
        got = f"got {count} ({brief(self.data[:count], count)})"
        return self._missing(count, f"{got} before the client {context.ending()}")

    def _missing(self, count: int, got: str) -> Mismatch:
        return MessageMissing(f"expected {self.expectation()}, {got}", self.data, self.data[:count])


class ExpectBytesTimed(ExpectBytes):
    """`expect_bytes(data, timeout=..., within=...)`. It is never joined with other steps."""

    __slots__ = ("timing",)

    def __init__(self, data: bytes, origin: Origin, timing: Timing) -> None:
        super().__init__(data, origin)
        self.timing = timing


class ExactRun:
    """The run of `expect_bytes` steps at a conversation's cursor.

    `joined` is the bytes of the run (None: closed), and `offset` how many of them have come. `first` is the index of
    the run's first step, and `ends` has for each step where its bytes end in `joined`.
    """

    __slots__ = ("joined", "offset", "ends", "first")

    def __init__(self) -> None:
        self.joined: Optional[bytes] = None
        self.offset = 0
        self.ends: tuple[int, ...] = ()
        self.first = 0

    @property
    def is_open(self) -> bool:
        """Whether a run has begun, and some of its bytes are still to come."""
        return self.joined is not None

    def proceed(self, context: Context) -> Outcome:
        """Compare the pending bytes; move the cursor past the satisfied steps, except for the last one of the run."""
        joined = self.joined
        if joined is None:
            joined = self._open(context)
        inbox = context.inbox
        pending = inbox.pending
        while pending:
            data = pending[0]
            left = len(joined) - self.offset
            if len(data) > left:
                data = data[:left]
            if not joined.startswith(data, self.offset):
                return self._differs(context, joined, data)
            self.offset += len(data)
            inbox.consume(len(data))
            if self.offset == len(joined):
                self.joined = None
                if len(self.ends) > 1:
                    context.script.cursor.move_to(self.first + len(self.ends) - 1)
                return DONE
        if self.offset >= self.ends[0]:
            context.script.cursor.move_to(self.first + bisect_right(self.ends, self.offset))
        if inbox.ended:
            step = context.script.due
            assert isinstance(step, ExpectBytes)
            return step.ended(context, self.received_of(step))
        return WAITING

    def _open(self, context: Context) -> bytes:
        steps, first = context.script.steps, context.script.cursor.position
        step = steps[first]
        assert isinstance(step, ExpectBytes)
        self.first = first
        self.offset = 0
        if type(step) is not ExpectBytes or first + 1 == len(steps) or type(steps[first + 1]) is not ExpectBytes:
            self.ends = (len(step.data),)
            self.joined = step.data
            return step.data
        pieces = [step.data]
        size = len(step.data)
        if size < MOST_BYTES:
            limit, other = first + MOST_STEPS, context.run_limit(first)
            for later in steps[first + 1:limit if other is None else min(limit, other)]:
                if type(later) is not ExpectBytes:  # one with its own time-out isn't, either
                    break
                size += len(later.data)
                if size > MOST_BYTES:
                    break
                pieces.append(later.data)
        self.ends = tuple(accumulate(map(len, pieces)))
        self.joined = joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return joined

    def received_of(self, step: Step[Any]) -> int:
        """Return how many bytes of `step`, the step at the cursor, have come."""
        if self.joined is None:
            return 0
        assert isinstance(step, ExpectBytes)
        return self.offset - (self.ends[step.index - self.first] - len(step.data))

    def _differs(self, context: Context, joined: bytes, data: memoryview) -> Mismatch:
        """Find the first byte that differs, move to its step, and describe it there."""
        low = first_difference(joined, data, self.offset) or 0
        position = bisect_right(self.ends, self.offset + low)
        context.script.cursor.move_to(self.first + position)
        step = context.script.steps[self.first + position]
        assert isinstance(step, ExpectBytes)
        start = self.ends[position] - len(step.data)
        before = joined[start:self.offset] if start < self.offset else b""
        context.inbox.consume(max(0, start - self.offset))
        got = before + context.inbox.unclaimed(len(step.data) - len(before))
        self.joined = None
        mismatch = Exactly(step.data).judge().feed(got)
        assert mismatch is not None
        return mismatch


class ExpectMessage(Step[T], Generic[T]):
    """A message that a matcher accepts: a frame, a line, bytes up to a separator, or a number of bytes.

    `shown` is how reports show the arguments; None if they are the bytes of the matcher, an `Exactly`, alone.
    """

    __slots__ = ("method", "shown", "framing", "matcher", "reading")
    reads = True
    free = True

    def __init__(self, method: str, shown: Optional[str], framing: Union[Framing, Callable[[Any], Framing]],
                 matcher: Matcher[T], origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.method = method
        self.shown = shown
        self.framing = framing
        self.matcher = matcher
        self.reading: Optional[Message] = None

    def arguments(self) -> str:
        return shorten(self.matcher.data) if self.shown is None else self.shown  # type: ignore[attr-defined]

    def message(self, context: Context) -> Message:
        """Begin to read the message. If there are other candidates, this is called repeatedly until it has come."""
        framing = self.framing
        if not isinstance(framing, Framing):
            # Call it only once, when it is the step's turn: a second call may return something else.
            self.framing = framing = framing(context.last_result())
        return Message(framing, self.matcher)

    def begin(self, context: Context) -> Optional[Mismatch]:
        try:
            self.reading = self.message(context)
        except Exception as error:  # noqa: BLE001 - the test's callable: the report shows whatever it raises
            return CallableRaised(f"the {self.asks} of {self.method}()", error)
        return None

    def proceed(self, context: Context) -> Outcome:
        reading = self.reading
        assert reading is not None
        inbox = context.inbox
        pending = inbox.pending
        while True:
            used, outcome = reading.feed(pending[0] if pending else _NOTHING)
            if pending:
                inbox.consume(used)
            if outcome is not None:
                if isinstance(outcome, Mismatch):
                    return outcome
                self.value = outcome.result
                self.reading = None
                return DONE
            if not pending:
                break
        if not inbox.ended:
            return WAITING
        end = None if reading.reader.started else self.at_end(context)
        return self.ended(context, reading) if end is None else end

    def begins_alone(self) -> bool:
        return isinstance(self.framing, Framing)

    def may_be_empty(self) -> bool:
        if not isinstance(self.framing, Framing):
            return True  # the callable may return a length of 0
        return takes_no_bytes(self.framing, self.matcher)

    def expectation(self) -> str:
        return self.expected(Message(self.framing, self.matcher)) if isinstance(self.framing, Framing) else str(self)

    def expected(self, reading: Message) -> str:
        """Say what is expected, as a text to put after "expected "."""
        what = reading.waiting_for()
        if self.matcher is anything:
            return what
        if type(self.matcher) is Exactly:
            label = getattr(self.framing, "label", None) or ""
            known = f"the {label[2:]}" if label.startswith("a ") else f"{what} that is"
            return f"{known} {brief(self.matcher.data)}"
        return f"{what}, {self.matcher!r}"

    def unended(self, so_far: bytes) -> Optional[str]:
        return self._unended(so_far) if so_far.startswith(self._least()) else None

    def _unended(self, so_far: bytes) -> Optional[str]:
        delimiter: Optional[bytes] = getattr(self.framing, "delimiter", None)
        if not so_far or delimiter is None:
            return None
        return f"got {brief(so_far, len(so_far))} without its ending {delimiter!r}"

    def _least(self) -> bytes:
        """Return the bytes that the message begins with in any case."""
        matcher: Any = self.matcher
        return matcher.data if type(matcher) is Exactly else matcher.prefix if type(matcher) is StartsWith else b""

    def _in_part(self, reading: Message, joint: str, ending: str) -> Mismatch:
        """Say what has come of the message, what was expected unless it lacks only its ending, and the `ending`."""
        unended = self._unended(reading.so_far()) if reading.judge.received >= len(self._least()) else None
        if unended is not None:
            return self._missing(reading, unended + ending, _LET_END)
        return self._missing(reading, f"expected {self.expected(reading)}{joint} {reading.progress()}{ending}")

    def ended(self, context: Context, reading: Message) -> Mismatch:
        """Say that the client's stream ended before the message did."""
        if not (reading.so_far() or reading.judge.received):
            return self._missing(reading, f"the client {context.ending()} without sending {self.expected(reading)}",
                                 _LET_SEND)
        return self._in_part(reading, ";", f" before the client {context.ending()}")

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        reading = self.reading
        assert reading is not None
        late = lateness(duration, silent)
        if not (reading.so_far() or reading.judge.received):
            return self._missing(reading, f"expected {self.expected(reading)}, nothing received {late}")
        return self._in_part(reading, ",", f"{', then nothing' if silent else ''} {late}")

    def _missing(self, reading: Message, text: str, hint: Optional[str] = None) -> Mismatch:
        return MessageMissing(text, self.matcher, reading.so_far(), hint)


_NOTHING = memoryview(b"")

_LET_END = "let the client send the ending, too; or write expect_bytes(), if the protocol has none"

_LET_SEND = "let the client send it before it ends its stream, or leave the step out of the script"
