"""Mismatches: values that say how what happened differs from what a script expects.

Judging does not raise. A matcher, a framing or a conversation returns a mismatch, the report shows it, and only the
outermost layer of the library raises it. Each class keeps the values that it is about. Its text is made from them here,
so that all texts can be read in one place, and only when somebody reads it: of several messages that may come next, all
but one end in a mismatch that nobody sees.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from .wording import brief, contrast, counted, difference_rows, exception_text, shorten_repr

__all__ = [
    "BytesDiffer",
    "CAUSE",
    "CallableRaised",
    "CheckRaised",
    "DigestDiffers",
    "FieldDiffers",
    "LengthDiffers",
    "MalformedFrame",
    "MessageMissing",
    "Mismatch",
    "NotJSON",
    "ReadingRaised",
    "Unmatched",
    "ValueDiffers",
]

if TYPE_CHECKING:
    from typing import Union

    #: A text, or a function that makes it when somebody reads it. What the function uses must not change until then.
    Text = Union[str, Callable[[], str]]


#: The cause of a failure stands in so many characters of the first line of its report.
CAUSE = 80


class Mismatch:
    """How a message, or the behaviour of a client, differs from what was expected.

    - `summary` is what the first line of a report begins with, before the place "(connection 1, step 2 of 4,
      test_x.py:31)". Lower case, no full stop, one line. What is wrong has to stand in its first 80 characters.
    - `details` are further lines for the body of the report, such as a hexdump of both sides, or a comparison field by
      field. They may be empty.
    - `expected` and `received` are the values that differ, such as the expected bytes and those that have come. Each
      class says what they are. They are None if there is nothing to compare.
    - `offset` is the position of the first byte that can't be right, counted from 0 in the message; None if no byte is
      wrong.
    - `hint` is what to do about it: the one piece of advice that the evidence supports, or None.

    A subclass may pass no summary, and make its texts in `describe` and `rows`: these are called when somebody reads
    `summary` or `details`, at most once. They may call the test's own code, such as the repr of a matcher. If that
    raises, the text says so: a report is always made.
    """

    __slots__ = ("expected", "received", "offset", "hint", "_summary", "_details")

    expected: Any
    received: Any
    hint: Optional[str]

    #: Whether the test itself has kept the server from serving: all that its client raises follows from that.
    by_the_test = False
    #: Whether the client is missing, and nothing is left that could be it: what it raised before is the cause.
    of_absence = False
    #: Whether `summary` names the connection, so that the place after it need not.
    names_connection = False

    def __init__(self, summary: Optional[str] = None, *, details: Optional[tuple[str, ...]] = None,
                 expected: Any = None, received: Any = None, offset: Optional[int] = None,
                 hint: Optional[str] = None) -> None:
        self._summary = summary
        self._details = details
        self.offset = offset
        if expected is not None:
            self.expected = expected
        if received is not None:
            self.received = received
        if hint is not None:
            self.hint = hint

    def __getattr__(self, name: str) -> Any:
        # Called only if the slot was never set: not here, and not by a subclass before it called __init__.
        if name in ("expected", "received", "hint"):
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def summary(self) -> str:
        """What is wrong, in one line."""
        if self._summary is None:
            try:
                self._summary = self.describe()
            except Exception as error:  # noqa: BLE001 - the test's own code
                self._summary = f"{type(self).__name__}, whose text can't be made: {exception_text(error)}"
        return self._summary

    @summary.setter
    def summary(self, text: str) -> None:
        self._summary = text

    def add(self, text: str) -> None:
        """Put `text` at the end of the summary."""
        self._summary = self.summary + text

    def advise(self, hint: str) -> None:
        """Give this advice."""
        self.hint = hint

    @property
    def details(self) -> tuple[str, ...]:
        """Further lines for the report."""
        if self._details is None:
            try:
                self._details = self.rows()
            except Exception as error:  # noqa: BLE001 - the test's own code
                self._details = (f"details can't be shown: {exception_text(error)}",)
        return self._details

    def explain(self, *lines: str) -> None:
        """Put further lines behind the details."""
        self._details = (*self.details, *lines)

    def describe(self) -> str:
        """Make the summary. Override it in a subclass that passes none."""
        return "the message is not the expected one"

    def rows(self) -> tuple[str, ...]:
        """Make the details. Override it in a subclass that passes none."""
        return ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"


class BytesDiffer(Mismatch):
    """A byte differs from the expected one. `expected` and `received` are bytes.

    `received` is what has come so far. It is often less than the message, since a wrong byte is reported when it
    arrives. With `prefix`, only the beginning of the message was expected.
    """

    __slots__ = ("prefix",)

    def __init__(self, expected: bytes, received: bytes, offset: int, *, prefix: bool = False) -> None:
        super().__init__(expected=expected, received=received, offset=offset)
        self.prefix = prefix

    def describe(self) -> str:
        at_the_start, at = " at the start" if self.prefix else "", f" at byte {self.offset}"
        room = CAUSE - len(f"expected {at_the_start}, got {at}")
        expected, received = contrast(self.expected, self.received, self.offset or 0, room)
        return f"expected {expected}{at_the_start}, got {received}{at}"

    def rows(self) -> tuple[str, ...]:
        return difference_rows(self.expected, self.received, self.offset or 0)


class LengthDiffers(Mismatch):
    """A message is too short, too long, or has a header that announces another length.

    `expected` and `received` are lengths in bytes. If the message is too long, `received` is what has come so far; if a
    header gave the length, `received` is that length. Create it with `announced`, `ended` or `continued`.

    `what` describes the expected message: its bytes, a text such as ``"of data"``, or a matcher. `at_least` says that
    more bytes may follow; then the bytes are a beginning.
    """

    __slots__ = ("what", "at_least", "_got", "_last", "_around")

    def __init__(self, expected: int, what: object, received: int, *, got: str, last: Optional[bytes] = None,
                 around: Optional[int] = None, at_least: bool = False, offset: Optional[int] = None) -> None:
        super().__init__(expected=expected, received=received, offset=offset)
        self.what = what
        self.at_least = at_least
        self._got = got
        self._last = last
        self._around = around

    @classmethod
    def announced(cls, expected: int, what: object, length: int, *, at_least: bool = False) -> LengthDiffers:
        """A header announces `length` bytes, not `expected`."""
        return cls(expected, what, length, got=f"a header that announces {length}", at_least=at_least)

    @classmethod
    def ended(
        cls, expected: int, what: object, received: int, last: bytes, *, at_least: bool = False
    ) -> LengthDiffers:
        """The message ended after `received` bytes; `last` are those still known."""
        return cls(expected, what, received, got=str(received), last=last, at_least=at_least, offset=received)

    @classmethod
    def continued(cls, expected: int, what: object, received: int, last: bytes) -> LengthDiffers:
        """The message continues after `expected` bytes; `received` have come so far, `last` are those still known."""
        around = expected - (received - len(last))
        return cls(expected, what, received, got="more", last=last, around=around, offset=expected)

    def describe(self) -> str:
        too_long = "" if self._around is None else f"; too long from byte {self.expected}"
        known = "" if self._last is None else self._known(self._last)
        at_least = "at least " if self.at_least else ""
        what = f"{counted(self.expected, 'byte')} {self._what()}".rstrip()
        return f"expected {at_least}{what}, got {self._got}{known}{too_long}"

    def rows(self) -> tuple[str, ...]:
        if isinstance(self.what, bytes) and self.what and self._last is not None and len(self._last) == self.received:
            return difference_rows(self.what, self._last, self.offset or 0)
        return ()

    def _what(self) -> str:
        if isinstance(self.what, str):
            return self.what
        if not isinstance(self.what, bytes):
            return f"for {self.what!r}"
        return f"{'starting with ' if self.at_least else ''}{brief(self.what, self.offset)}"

    def _known(self, last: bytes) -> str:
        """Show the received bytes in parentheses: all of them, or the last ones if only those were kept."""
        if len(last) == self.received:
            return f" ({brief(last, self._around)})" if last else ""
        around = len(last) if self._around is None else self._around
        return f" (the last of them {brief(last, around)})"


class MessageMissing(Mismatch):
    """A message did not come, or only its beginning did. `expected` is its bytes, or the matcher for it.

    `received` is what has come of it, as bytes.
    """

    __slots__ = ()

    def __init__(self, summary: str, expected: object, received: bytes, hint: Optional[str] = None) -> None:
        super().__init__(summary, expected=expected, received=received, hint=hint)


class Unmatched(Mismatch):
    """A message isn't what a matcher describes. `expected` is the matcher's repr, `reason` may say more.

    `received` is the message, as bytes, or the value inside a message that the matcher judged.
    """

    __slots__ = ("_expected", "_reason")

    def __init__(self, expected: Text, received: object, reason: Text = "") -> None:
        super().__init__(received=received)
        self._expected = expected
        self._reason = reason

    @property
    def expected(self) -> str:
        """The repr of the matcher."""
        if not isinstance(self._expected, str):
            self._expected = self._expected()
        return self._expected

    @property
    def reason(self) -> str:
        """More about why it does not match, or ""."""
        if not isinstance(self._reason, str):
            self._reason = self._reason()
        return self._reason

    def describe(self) -> str:
        reason = self.reason
        return f"expected {self.expected}, got {shorten_repr(self.received)}{'; ' if reason else ''}{reason}"


class CheckRaised(Unmatched):
    """The user's own check raised an exception. `exception` keeps it, with its traceback."""

    __slots__ = ("exception",)

    def __init__(self, expected: Text, received: object, exception: BaseException) -> None:
        super().__init__(expected, received, f"the check raised {exception_text(exception)}")
        self.exception = exception


class DigestDiffers(Mismatch):
    """The digest of the data isn't the expected one. Both digests are hexadecimal; `length` is in bytes."""

    __slots__ = ("algorithm", "length")

    def __init__(self, algorithm: str, expected: str, received: str, length: int) -> None:
        super().__init__(expected=expected, received=received)
        self.algorithm = algorithm
        self.length = length

    def describe(self) -> str:
        return (
            f"expected data with the {self.algorithm} digest {self.expected}, "
            f"got {self.received} of {self.length} bytes"
        )


class FieldDiffers(Mismatch):
    """A field of a structure isn't the expected one. `name` is its name, or its index in the result.

    `place` says where it is. `received` shows the field's value. If the bytes so far can't become the expected value
    any more, it shows these. `table` makes the details.
    """

    __slots__ = ("name", "place", "_table")

    def __init__(self, name: str, place: str, expected: str, received: str, offset: int,
                 table: Callable[[], tuple[str, ...]] = tuple) -> None:
        super().__init__(expected=expected, received=received, offset=offset)
        self.name = name
        self.place = place
        self._table = table

    def describe(self) -> str:
        return f"expected {self.expected} in field {self.name} ({self.place}), got {self.received}"

    def rows(self) -> tuple[str, ...]:
        return self._table()


class ValueDiffers(Mismatch):
    """Values in a JSON text aren't the expected ones. `path` leads to the first, as in ``$.params.id``.

    `differences` are all differences that were found, as pairs of a path and a text. The first one is the summary.
    `note` is a line on how the values were compared.
    """

    __slots__ = ("path", "_found", "_note")

    SHOWN = 10

    def __init__(self, differences: list[tuple[str, Text]], note: Optional[str] = None) -> None:
        super().__init__()
        self.path = differences[0][0]
        self._found = differences
        self._note = note

    @property
    def differences(self) -> tuple[tuple[str, str], ...]:
        """All differences, as pairs of a path and a text."""
        return tuple((path, text if isinstance(text, str) else text()) for path, text in self._found)

    def describe(self) -> str:
        path, text = self.differences[0]
        others = len(self._found) - 1
        return f"at {path}: {text}" + (f" (and {counted(others, 'other difference')})" if others else "")

    def rows(self) -> tuple[str, ...]:
        lines = []
        if len(self._found) > 1:
            lines = [f"at {path}: {text}" for path, text in self.differences[: self.SHOWN]]
        if len(self._found) > self.SHOWN:
            lines.append(f"... and {counted(len(self._found) - self.SHOWN, 'other difference')}")
        return (*lines, self._note) if self._note else tuple(lines)


class NotJSON(Mismatch):
    """A message isn't JSON text. `offset` is the first byte that can't be JSON; None if it is nested too deeply.

    `expected` is the matcher, `received` the message, as bytes.
    """

    __slots__ = ("reason",)

    def __init__(self, expected: object, received: bytes, reason: str, offset: Optional[int]) -> None:
        super().__init__(expected=expected, received=received, offset=offset)
        self.reason = reason

    def describe(self) -> str:
        expected = self.expected if isinstance(self.expected, str) else shorten_repr(self.expected, 200)
        at = "" if self.offset is None else f" at byte {self.offset}"
        return f"expected {expected}, got {brief(self.received, self.offset)}, which isn't JSON: {self.reason}{at}"


class MalformedFrame(Mismatch):
    """Bytes that can't be a frame. `received` are these bytes. `offset` counts from the frame's first byte.

    `exception` is what the user's own framing raised, with its traceback. It is None if the framing refused the bytes
    as it should, with a ValueError.
    """

    __slots__ = ("exception", "_text")

    def __init__(self, text: Text, *, received: Optional[bytes] = None, offset: Optional[int] = None,
                 exception: Optional[BaseException] = None) -> None:
        super().__init__(received=received, offset=offset)
        self.exception = exception
        self._text = text

    def describe(self) -> str:
        return self._text if isinstance(self._text, str) else self._text()


class ReadingRaised(Mismatch):
    """The user's own reader or judge raised `exception`, which keeps its traceback. `name` is the class's name."""

    __slots__ = ("exception",)

    def __init__(self, name: str, exception: BaseException) -> None:
        super().__init__(f"{name} raised {exception_text(exception)}, while a message was read")
        self.exception = exception


class CallableRaised(Mismatch):
    """The test's own code in a script raised `exception`. `what` names it: ``the callable of send_bytes()``."""

    __slots__ = ("exception",)

    def __init__(self, what: str, exception: BaseException) -> None:
        super().__init__(f"{what} raised {exception_text(exception)}")
        self.exception = exception
