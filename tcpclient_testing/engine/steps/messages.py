"""Expectations of messages: the steps that read what the client sends.

They pass the stream through a framing's reader to a matcher's judge, piece by piece. So the first byte that can't be
right is noticed when it arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Match, Matcher
from tcpclient_testing.engine.matching.exact import Exactly
from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.mismatches import CallableRaised, MessageMissing, Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, lateness, shorten

from .base import DEFAULT_TIMING, DONE, WAITING, Outcome, Step, Timing

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

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

    def message(self) -> Message:
        """Begin to read the bytes as a message, for use when they are one of several candidates."""
        return Message(FixedLength(len(self.data)), Exactly(self.data))

    def proceed(self, conversation: Conversation) -> Outcome:
        return conversation.exact.proceed(conversation)

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        count = conversation.exact.received_of(self, conversation)
        if not count:
            got = f"nothing received {lateness(duration, silent)}"
        else:
            late = f", then nothing {lateness(duration, True)}" if silent else f" {lateness(duration, False)}"
            got = f"got only {count} ({shorten(self.data[:count])}){late}"
        return self._missing(count, got)

    def ended(self, conversation: Conversation, count: int) -> Mismatch:
        """Say that the client's stream ended after `count` bytes of these."""
        got = f"got {count} ({shorten(self.data[:count])})" if count else "got nothing"
        return self._missing(count, f"{got} before the client {conversation.ending()}")

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

    def message(self) -> Message:
        """Begin to read the message. If there are other candidates, this is called repeatedly until it has come."""
        framing = self.framing
        if not isinstance(framing, Framing):
            # Call it only once, when it is the step's turn: a second call may return something else.
            self.framing = framing = framing(self.conversation.last_result())
        return Message(framing, self.matcher)

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        try:
            self.reading = self.message()
        except Exception as error:  # noqa: BLE001 - the test's callable: the report shows whatever it raises
            return CallableRaised(f"the callable of {self.method}()", error)
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        reading = self.reading
        assert reading is not None
        pending = conversation.pending
        while True:
            used, outcome = reading.feed(pending[0] if pending else _NOTHING)
            if pending:
                conversation.consume(used)
            if outcome is not None:
                return self._finish(outcome)
            if not pending:
                break
        if not conversation.ended:
            return WAITING
        end = None if reading.reader.started else self.at_end(conversation)
        return self.ended(conversation, reading) if end is None else end

    def take(self, result: T) -> None:
        self.value = result

    def _finish(self, outcome: Union[Match[T], Mismatch]) -> Outcome:
        if isinstance(outcome, Mismatch):
            return outcome
        self.value = outcome.result
        self.reading = None
        return DONE

    def expected(self, reading: Message) -> str:
        """Say what is expected, as a text to put after "expected "."""
        what = reading.waiting_for()
        if self.matcher is anything:
            return what
        if type(self.matcher) is Exactly:
            return f"{what} that is {shorten(self.matcher.data)}"
        return f"{what}, {self.matcher!r}"

    def ended(self, conversation: Conversation, reading: Message) -> Mismatch:
        """Say that the client's stream ended before the message did."""
        return self._missing(reading, f"; {reading.progress()} before the client {conversation.ending()}")

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
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
