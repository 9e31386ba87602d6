"""Expectations of messages: the steps that read what the client sends.

They pass the stream through a framing's reader to a matcher's judge, piece by piece. So the first byte that can't be
right is noticed when it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.exact import Exactly
from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.engine.matching.reading import Message, takes_no_bytes
from tcpclient_testing.engine.mismatches import CallableRaised, MessageMissing, Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, lateness, shorten

from .base import DONE, WAITING, Outcome, Step
from .timing import DEFAULT_TIMING, Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["ExpectBytes", "ExpectBytesTimed", "ExpectMessage"]

__unittest = True

T = TypeVar("T")


class ExpectBytes(Step[bytes]):
    """`expect_bytes(data)`: the client sends exactly these bytes next, in any number of pieces.

    It has no reader and no judge of its own: a conversation compares a run of such steps as one (`ExactRun`). A script
    may have some hundred thousand of them, so each has as few attributes as possible. A step with its own time-out is
    of another class, `ExpectBytesTimed`.
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

    def message(self, context: Context) -> Message:
        """Begin to read the bytes as a message, for use when they are one of several candidates."""
        return Message(FixedLength(len(self.data)), Exactly(self.data))

    def proceed(self, context: Context) -> Outcome:
        run = context.exact
        return (context.begin_runs() if run is None else run).proceed(context)

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        count = 0 if context.exact is None else context.exact.received_of(self)
        if not count:
            got = f"nothing received {lateness(duration, silent)}"
        else:
            late = f", then nothing {lateness(duration, True)}" if silent else f" {lateness(duration, False)}"
            got = f"got only {count} ({shorten(self.data[:count])}){late}"
        return self._missing(count, got)

    def ended(self, context: Context, count: int) -> Mismatch:
        """Say that the client's stream ended after `count` bytes of these."""
        got = f"got {count} ({shorten(self.data[:count])})" if count else "got nothing"
        return self._missing(count, f"{got} before the client {context.ending()}")

    def _missing(self, count: int, got: str) -> Mismatch:
        return MessageMissing(f"expected {counted(len(self.data), 'byte')} {shorten(self.data)}, {got}",
                              self.data, self.data[:count])


class ExpectBytesTimed(ExpectBytes):
    """`expect_bytes(data, timeout=..., within=...)`. It is never joined with other steps."""

    __slots__ = ("timing",)

    def __init__(self, data: bytes, origin: Origin, timing: Timing) -> None:
        super().__init__(data, origin)
        self.timing = timing


class ExpectMessage(Step[T], Generic[T]):
    """A message that a matcher accepts: a frame, a line, bytes up to a separator, or a number of bytes."""

    __slots__ = ("method", "shown", "framing", "matcher", "reading")
    reads = True
    free = True

    def __init__(self, method: str, shown: str, framing: Union[Framing, Callable[[Any], Framing]],
                 matcher: Matcher[T], origin: Origin, timing: Timing = DEFAULT_TIMING) -> None:
        super().__init__(origin, timing)
        self.method = method
        self.shown = shown
        self.framing = framing
        self.matcher = matcher
        self.reading: Optional[Message] = None

    def arguments(self) -> str:
        return self.shown

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
            return CallableRaised(f"the callable of {self.method}()", error)
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
            return f"{what} that is {shorten(self.matcher.data)}"
        return f"{what}, {self.matcher!r}"

    def ended(self, context: Context, reading: Message) -> Mismatch:
        """Say that the client's stream ended before the message did."""
        return self._missing(reading, f"; {reading.progress()} before the client {context.ending()}")

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        reading = self.reading
        assert reading is not None
        so_far = reading.so_far()
        nothing = silent or not (so_far or reading.judge.received)
        late = f"{'nothing received' if nothing else 'not complete'} {lateness(duration, silent)}"
        verb = "is" if len(so_far) == 1 else "are"
        waiting = f"; {counted(len(so_far), 'byte')} {verb} waiting: {shorten(so_far)}" if so_far else ""
        return self._missing(reading, f", {late}{waiting}")

    def _missing(self, reading: Message, got: str) -> Mismatch:
        return MessageMissing(f"expected {self.expected(reading)}{got}", self.matcher, reading.so_far())


_NOTHING = memoryview(b"")
