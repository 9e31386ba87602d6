"""`expect_each(messages)`: one step for many messages, which come one after another.

The messages are taken from the test's sequence or iterator when they are needed. Each is read as a step of its own
would read it: `ExpectEach` makes such a step, its current one. So it is judged, and missed, in the same words, and the
mismatch says which message it was.

    [pull -> current message -> read]* -> satisfied
               `-> mismatch

Messages that are plain bytes (`ExpectEachBytes`) are joined, some hundreds at a time, and each chunk that arrives is
compared with them once, as a run of `expect_bytes` steps is.

A connection on which other messages are possible, too (`allow`, `any_order`), takes one message at a time: between any
two, another may come.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

from tcpclient_testing.engine.callables import in_context
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.exact import Exactly
from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.engine.matching.reading import Message, takes_no_bytes
from tcpclient_testing.engine.mismatches import CallableRaised, Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, exception_text, first_difference, shorten, shorten_repr

from .base import DONE, WAITING, Outcome, Step
from .messages import MOST_BYTES, MOST_STEPS, ExpectBytes, ExpectMessage
from .timing import Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["ExpectEach", "ExpectEachBytes", "Given", "Listed", "brief_message"]

__unittest = True

_NO_MORE = object()


class Listed:
    """Messages of a sequence, which were checked when the step was written."""

    __slots__ = ("_all", "_position")

    asking = False

    def __init__(self, messages: Sequence[Any]) -> None:
        self._all = messages
        self._position = 0

    @property
    def count(self) -> Optional[int]:
        """How many messages there are in all."""
        return len(self._all)

    def next(self) -> Any:
        """Take the next message; None if there are no more."""
        message = self.peek()
        self._position += 1
        return message

    def peek(self) -> Any:
        """Return the next message, but don't take it; None if there are no more."""
        return self._all[self._position] if self._position < len(self._all) else None

    def first(self) -> Any:
        """Return the first message."""
        return self._all[0]

    def batch(self) -> Sequence[bytes]:
        """Take the next messages, which are bytes: as many as are worth joining; none if there are no more."""
        batch = self._all[self._position:self._position + MOST_STEPS]
        self._position += len(batch)
        if sum(map(len, batch)) > MOST_BYTES:
            kept = max(1, bisect_right(list(accumulate(map(len, batch))), MOST_BYTES))
            self._position -= len(batch) - kept
            batch = batch[:kept]
        return batch


class Given:
    """Messages of the test's own iterator, which is asked for each when it is needed, and not before.

    `checked` makes of what it gives what the step reads; it raises `TypeError` or `ValueError` if that can't be.
    """

    __slots__ = ("_next", "_checked", "_error", "_asking")

    count: Optional[int] = None

    def __init__(self, messages: Iterator[Any], checked: Callable[[Any], Any]) -> None:
        self._next = in_context(partial(next, messages, _NO_MORE))
        self._checked = checked
        self._error: Optional[Exception] = None
        self._asking = False

    def next(self) -> Any:
        """Take the next message; None if there are no more. What the test's own code raises is raised, each time."""
        if self._error is not None:
            raise self._error
        if self.asking:
            raise RuntimeError("the iterator was asked for the next message while it gave one: it has used the server")
        self._asking = True
        try:
            message = self._next()
            return None if message is _NO_MORE else self._checked(message)
        except Exception as error:
            self._error = error
            raise
        except BaseException as error:  # it goes on to whoever runs the loop; an iterator that has raised is done for
            self._error = RuntimeError(f"the iterator has ended with {exception_text(error)}")
            raise
        finally:
            self._asking = False

    @property
    def asking(self) -> bool:
        """Whether the iterator is being asked right now: it has used the server, which looks for what is next."""
        return self._asking

    def peek(self) -> Any:
        """Return None: nobody knows the next message yet."""

    def first(self) -> Any:
        """Return None: nobody knows the first message before its turn, or keeps it."""

    def batch(self) -> Sequence[bytes]:
        """Take the next message, which is bytes; none if there are no more."""
        message = self.next()
        return () if message is None else (message,)


class ExpectEach(Step[list[Any]]):
    """`expect_each(messages, framing=..., ending=...)`: the client sends each of these messages, in their order.

    `shown` is how reports show the framing, as an argument.
    """

    __slots__ = ("messages", "results", "_shown", "_framing", "_current", "_latest", "_begun")
    method = "expect_each"
    asks = "messages"
    reads = True
    free = True

    def __init__(self, messages: Union[Listed, Given], shown: str, framing: Framing, origin: Origin,
                 timing: Timing) -> None:
        super().__init__(origin, timing)
        self.messages = messages
        self.results: list[Any] = []
        self._shown = shown
        self._framing = framing
        self._current: Optional[Step[Any]] = None
        self._latest: Any = None
        self._begun = False

    def arguments(self) -> str:
        count = self.messages.count
        return f"{'messages' if count is None else counted(count, 'message')}{self._shown}"

    def written(self) -> list[Any]:
        return list(self.results)

    # The current message.

    def step_for(self, message: Any) -> Step[Any]:
        """Make the step that reads this message."""
        matcher = message if isinstance(message, Matcher) else Exactly(message)
        return ExpectMessage(self.method, "", self._framing, matcher, self.origin, self.timing)

    def _turn(self) -> Optional[Step[Any]]:
        """Return the step for the current message; None if all have come. Raises what the test's own code raises."""
        if self._current is None:
            message = self.messages.next()
            if message is not None:
                self._latest = message
                self._current = self.step_for(message)
                self._begun = False
        return self._current

    def _came(self, result: Any) -> None:
        self.results.append(result)
        self._current = None

    def message(self, context: Context) -> Message:
        current = self._turn()
        if current is None:  # only an iterator that gives nothing at all
            return Message(FixedLength(0), Exactly(b""))
        message: Message = current.message(context)
        return message

    def take(self, result: Any) -> bool:
        if self._current is None:
            return False
        self._came(result)
        return self._goes_on()

    def _goes_on(self) -> bool:
        """Whether another message is to come. What the test's own code raises is seen when that message is read."""
        try:
            return self._turn() is not None
        except Exception:  # noqa: BLE001 - the test's iterator, which has ended by that: the next look reports it
            return True

    def proceed(self, context: Context) -> Outcome:
        while not self.messages.asking:
            try:
                current = self._turn()
            except Exception as error:  # noqa: BLE001 - the test's iterator: the report shows whatever it raises
                return CallableRaised(f"the {self.asks} of {self.method}()", error)
            if current is None:
                return DONE
            outcome: Optional[Outcome] = None
            if not self._begun:
                self._begun = True
                outcome = current.begin(context)
            if outcome is None:
                outcome = current.proceed(context)
            if outcome is not DONE:
                return self.placed(outcome) if isinstance(outcome, Mismatch) else outcome
            self._came(current.written())
        return WAITING

    # Texts of reports.

    def placed(self, mismatch: Mismatch) -> Mismatch:
        mismatch.add(f", {self._place()}")
        mismatch.explain(*self._around())
        return mismatch

    def _place(self) -> str:
        of = "" if self.messages.count is None else f" of {self.messages.count}"
        return f"message {len(self.results) + 1}{of}"

    def _around(self) -> tuple[str, ...]:
        return self._rows(self.messages.peek())

    def _rows(self, after: Any) -> tuple[str, ...]:
        number = len(self.results) + 1
        shown = [(" ", number - 1, self.results[-1])] if self.results else []
        shown.append((">", number, self._latest))
        if after is not None:
            shown.append((" ", number + 1, after))
        width = len(str(number + 1))
        return ("messages", *(f"{mark} {which:{width}}  {brief_message(each)}" for mark, which, each in shown))

    def whereabouts(self) -> str:
        return f" from {self._place()} on" if self.results else ""

    def beginning(self, context: Context) -> Optional[Message]:
        first = self.messages.first()
        return None if first is None else cast(Message, self.step_for(first).message(context))

    def begins_early(self) -> bool:
        return self.messages.count is not None

    def expectation(self) -> str:
        return str(self) if self._current is None else self._current.expectation()

    def unended(self, so_far: bytes) -> Optional[str]:
        return None if self._current is None else self._current.unended(so_far)

    def may_be_empty(self) -> bool:
        return takes_no_bytes(self._framing, anything)

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        try:
            current = self._turn()
        except Exception as error:  # noqa: BLE001 - the test's iterator, which had ended by something else
            return CallableRaised(f"the {self.asks} of {self.method}()", error)
        assert current is not None  # else the step is satisfied
        return self.placed(current.overdue(context, duration, silent))


class ExpectEachBytes(ExpectEach):
    """`expect_each(messages)`: each of these bytes, in any number of pieces.

    `_pieces` are the messages that are being compared, and `_joined` their bytes, of which `_offset` have come. `_ends`
    has for each where its bytes end. The first `_done` of them are among the results.
    """

    __slots__ = ("_pieces", "_joined", "_offset", "_ends", "_done")

    def __init__(self, messages: Union[Listed, Given], origin: Origin, timing: Timing) -> None:
        super().__init__(messages, "", FixedLength(1), origin, timing)
        self._pieces: Sequence[bytes] = ()
        self._joined = b""
        self._offset = self._done = 0
        self._ends: list[int] = []

    def step_for(self, message: bytes) -> ExpectBytes:
        return ExpectBytes(message, self.origin)

    def may_be_empty(self) -> bool:
        return False

    def proceed(self, context: Context) -> Outcome:
        inbox = context.inbox
        pending = inbox.pending
        while not self.messages.asking:
            if self._offset == len(self._joined):
                try:
                    self._join()
                except Exception as error:  # noqa: BLE001 - the test's iterator: the report shows whatever it raises
                    return CallableRaised(f"the {self.asks} of {self.method}()", error)
                if not self._pieces:
                    return DONE
            if not pending:
                break
            data = pending[0]
            left = len(self._joined) - self._offset
            if len(data) > left:
                data = data[:left]
            if not self._joined.startswith(data, self._offset):
                return self._differs(context, data)
            self._offset += len(data)
            inbox.consume(len(data))
        if self.messages.asking:
            return WAITING
        self._have_come(bisect_right(self._ends, self._offset))
        if inbox.ended:
            return self.placed(self._due().ended(context, self._received()))
        return WAITING

    def _join(self) -> None:
        """Join the next messages, if there are any: the current one alone, if the step has it already."""
        self._have_come(len(self._pieces))
        if self._current is None:
            self._pieces = self.messages.batch()
        else:
            self._pieces, self._current = (self._latest,), None
        self._ends = list(accumulate(map(len, self._pieces)))
        self._joined = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._offset = self._done = 0

    def _have_come(self, count: int) -> None:
        """The first `count` pieces have come."""
        if count > self._done:
            self.results += self._pieces[self._done:count]
            self._done = count

    def _due(self) -> ExpectBytes:
        """Return the step for the piece that comes next."""
        self._latest = self._pieces[self._done]
        return self.step_for(self._latest)

    def _received(self) -> int:
        """How many bytes have come of the piece that comes next."""
        return self._offset - (self._ends[self._done - 1] if self._done else 0)

    def _differs(self, context: Context, data: memoryview) -> Mismatch:
        """Find the first byte that differs, and describe it in its message."""
        same = first_difference(self._joined, data, self._offset) or 0
        self._have_come(bisect_right(self._ends, self._offset + same))
        message, before = self._due().data, self._received()
        if before < 0:  # the message begins in `data`
            context.inbox.consume(-before)
            before = 0
        got = message[:before] + context.inbox.unclaimed(len(message) - before)
        mismatch = Exactly(message).judge().feed(got)
        assert mismatch is not None
        return self.placed(mismatch)

    def _around(self) -> tuple[str, ...]:
        following = self._pieces[self._done + 1:self._done + 2]
        return self._rows(following[0] if following else self.messages.peek())

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if self._done == len(self._pieces):
            return super().overdue(context, duration, silent)
        return self.placed(self._due().late(self._received(), duration, silent))


def brief_message(message: Any) -> str:
    """Return a message, or what was given in its place, as reports show it."""
    return shorten(message) if isinstance(message, (bytes, str)) else shorten_repr(message)
