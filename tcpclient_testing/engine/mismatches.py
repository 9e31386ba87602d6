"""Mismatches: values that say how what happened differs from what a script expects.

Judging does not raise. A matcher, a framing or a conversation returns a mismatch, the report shows it, and only the
outermost layer of the library raises it. Each class keeps the values that it is about, and makes its text from them
here, so that all texts can be read in one place.
"""

from __future__ import annotations

from typing import Optional

from .wording import counted, difference_rows, exception_text, shorten, shorten_repr

__all__ = [
    "BytesDiffer",
    "CheckRaised",
    "DigestDiffers",
    "FieldDiffers",
    "LengthDiffers",
    "MalformedFrame",
    "Mismatch",
    "NotJSON",
    "ReadingRaised",
    "Unmatched",
    "ValueDiffers",
]


class Mismatch:
    """How a message, or the behaviour of a client, differs from what was expected.

    - `summary` is the fragment that follows "step 2 of 4 (test_x.py:31): " in the first line of a report: lower case,
      no full stop, one line.
    - `details` are further lines for the body of the report, such as a hexdump of both sides, or a comparison field by
      field. They may be empty.
    - `offset` is the position of the first byte that can't be right, counted from 0 in the message; None if no byte is
      wrong.
    """

    __slots__ = ("summary", "details", "offset")

    def __init__(self, summary: str, *, details: tuple[str, ...] = (), offset: Optional[int] = None) -> None:
        self.summary = summary
        self.details = details
        self.offset = offset

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"


class BytesDiffer(Mismatch):
    """A byte differs from the expected one.

    `received` is what has come so far. It is often less than the message, since a wrong byte is reported when it
    arrives; with `whole` it is the whole message. With `prefix`, only the beginning of the message was expected.
    """

    __slots__ = ("expected", "received", "prefix")

    def __init__(
        self, expected: bytes, received: bytes, offset: int, *, prefix: bool = False, whole: bool = False
    ) -> None:
        self.expected = expected
        self.received = received
        self.prefix = prefix
        at_the_start = " at the start" if prefix else ""
        so_far = "" if whole or len(received) >= len(expected) else " so far"
        super().__init__(
            f"expected {shorten(expected, offset)}{at_the_start}, got {shorten(received, offset)}{so_far}; "
            f"first difference at byte {offset}",
            details=difference_rows(expected, received, offset),
            offset=offset,
        )

    def of_whole(self) -> BytesDiffer:
        """Return the same mismatch for a message that has come as a whole."""
        return BytesDiffer(self.expected, self.received, self.offset or 0, prefix=self.prefix, whole=True)


class LengthDiffers(Mismatch):
    """A message is too short, too long, or has a header that announces another length.

    `expected` and `received` are lengths in bytes. If the message is too long, `received` is what has come so far; if a
    header gave the length, `received` is that length. Create it with `announced`, `ended` or `continued`.
    """

    __slots__ = ("expected", "received")

    def __init__(self, expected: int, received: int, summary: str, details: tuple[str, ...], offset: Optional[int]):
        self.expected = expected
        self.received = received
        super().__init__(summary, details=details, offset=offset)

    @classmethod
    def announced(cls, expected: int, what: str, length: int, *, at_least: bool = False) -> LengthDiffers:
        """A header announces `length` bytes, not `expected`. `what` describes the expected: ``b'abc'``, ``for ...``."""
        return cls(
            expected,
            length,
            f"expected {_lengths(expected, what, at_least)}, got a header that announces {length}",
            (),
            None,
        )

    @classmethod
    def ended(
        cls, expected: int, what: str, received: int, last: bytes, *, at_least: bool = False, whole: bytes = b""
    ) -> LengthDiffers:
        """The message ended after `received` bytes; `last` are those still known, `whole` is the expected message."""
        return cls(
            expected,
            received,
            f"expected {_lengths(expected, what, at_least)}, got {received}{_known(received, last)}",
            difference_rows(whole, last, received) if whole and len(last) == received else (),
            received,
        )

    @classmethod
    def continued(cls, expected: int, what: str, received: int, last: bytes, *, whole: bytes = b"") -> LengthDiffers:
        """The message continues after `expected` bytes; `received` have come so far, `last` are those still known."""
        around = expected - (received - len(last))
        return cls(
            expected,
            received,
            f"expected {_lengths(expected, what, False)}, got more{_known(received, last, around)}; "
            f"too long from byte {expected}",
            difference_rows(whole, last, expected) if whole and len(last) == received else (),
            expected,
        )


def _lengths(expected: int, what: str, at_least: bool) -> str:
    return f"{'at least ' if at_least else ''}{counted(expected, 'byte')} {what}".rstrip()


def _known(received: int, last: bytes, around: Optional[int] = None) -> str:
    """Show the received bytes in parentheses: all of them, or the last ones if only those were kept."""
    if len(last) == received:
        return f" ({shorten(last, around)})" if received else ""
    return f" (the last of them {shorten(last, len(last) if around is None else around, 40)})"


class Unmatched(Mismatch):
    """A message isn't what a matcher describes. `expected` is the matcher's repr, `reason` may say more.

    `received` is the message, as bytes, or the value inside a message that the matcher judged.
    """

    __slots__ = ("expected", "received", "reason")

    def __init__(self, expected: str, received: object, reason: str = "") -> None:
        self.expected = expected
        self.received = received
        self.reason = reason
        super().__init__(f"expected {expected}, got {shorten_repr(received)}{'; ' if reason else ''}{reason}")


class CheckRaised(Unmatched):
    """The user's own check raised an exception. `exception` keeps it, with its traceback."""

    __slots__ = ("exception",)

    def __init__(self, expected: str, received: object, exception: BaseException) -> None:
        self.exception = exception
        super().__init__(expected, received, f"the check raised {exception_text(exception)}")


class DigestDiffers(Mismatch):
    """The digest of the data isn't the expected one. Both digests are hexadecimal; `length` is in bytes."""

    __slots__ = ("expected", "received")

    def __init__(self, algorithm: str, expected: str, received: str, length: int) -> None:
        self.expected = expected
        self.received = received
        super().__init__(f"expected data with the {algorithm} digest {expected}, got {received} of {length} bytes")


class FieldDiffers(Mismatch):
    """A field of a structure isn't the expected one. `name` is its name, or its index in the result.

    `received` shows the field's value. If the bytes so far can't become the expected value any more, it shows these.
    """

    __slots__ = ("name", "expected", "received")

    def __init__(
        self, name: str, place: str, expected: str, received: str, details: tuple[str, ...], offset: int
    ) -> None:
        self.name = name
        self.expected = expected
        self.received = received
        super().__init__(
            f"expected {expected} in field {name} ({place}), got {received}", details=details, offset=offset
        )


class ValueDiffers(Mismatch):
    """Values in a JSON text aren't the expected ones. `path` leads to the first, as in ``$.params.id``.

    `differences` are all differences that were found, as pairs of a path and a text. The first one is the summary.
    """

    __slots__ = ("path", "differences")

    SHOWN = 10

    def __init__(self, differences: list[tuple[str, str]]) -> None:
        self.path = differences[0][0]
        self.differences = tuple(differences)
        lines = [f"at {path}: {text}" for path, text in differences[: self.SHOWN]]
        summary = lines[0]
        if len(differences) > 1:
            summary += f" (and {counted(len(differences) - 1, 'other difference')})"
        if len(differences) > self.SHOWN:
            lines.append(f"... and {counted(len(differences) - self.SHOWN, 'other difference')}")
        super().__init__(summary, details=tuple(lines) if len(differences) > 1 else ())


class NotJSON(Mismatch):
    """A message isn't JSON text. `offset` is the first byte that can't be JSON; None if it is nested too deeply."""

    __slots__ = ("received",)

    def __init__(self, expected: str, received: bytes, reason: str, offset: Optional[int]) -> None:
        self.received = received
        at = "" if offset is None else f" at byte {offset}"
        super().__init__(
            f"expected {expected}, got {shorten(received, offset)}, which isn't JSON: {reason}{at}", offset=offset
        )


class MalformedFrame(Mismatch):
    """Bytes that can't be a frame. `offset` counts from the frame's first byte, including its header.

    `exception` is what the user's own framing raised, with its traceback. It is None if the framing refused the bytes
    as it should, with a ValueError.
    """

    __slots__ = ("exception",)

    def __init__(
        self, summary: str, *, offset: Optional[int] = None, exception: Optional[BaseException] = None
    ) -> None:
        super().__init__(summary, offset=offset)
        self.exception = exception


class ReadingRaised(Mismatch):
    """The user's own reader or judge raised `exception`, which keeps its traceback. `name` is the class's name."""

    __slots__ = ("exception",)

    def __init__(self, name: str, exception: BaseException) -> None:
        super().__init__(f"{name} raised {exception_text(exception)}, while a message was read")
        self.exception = exception
