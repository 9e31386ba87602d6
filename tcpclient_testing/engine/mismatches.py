"""Mismatches: values that say how what happened differs from what a script expects.

Judging is not raising. A matcher, a framing or a conversation returns a mismatch; the report words it, and only
the edge of the library raises it. Each class keeps the values that it is about and makes its text of them here,
so that all texts can be read in one place.
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

    `summary` is the fragment that follows "step 2 of 4 (test_x.py:31): " in the first line of a report; lower
    case, no full stop, one line. `details` are further lines for the body of the report (a hexdump of both sides,
    a field by field comparison); they may be empty. `offset` is the number of the first byte, counted from 0 in
    the message, that can't be right, or None where no byte is at fault.
    """

    __slots__ = ("summary", "details", "offset")

    def __init__(self, summary: str, *, details: tuple[str, ...] = (), offset: Optional[int] = None) -> None:
        self.summary = summary
        self.details = details
        self.offset = offset

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"


class BytesDiffer(Mismatch):
    """A byte is another than the expected one.

    `received` is what came so far: often less than the message, since a wrong byte is reported when it arrives; with
    `whole` it is all of the message. With `prefix`, only the message's beginning was fixed.
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
        """The same of a message of which nothing is still to come."""
        return BytesDiffer(self.expected, self.received, self.offset or 0, prefix=self.prefix, whole=True)


class LengthDiffers(Mismatch):
    """A message is too short, too long, or has a header that announces another length.

    `expected` and `received` are lengths in bytes; `received` is what came so far where the message is too long,
    and the announced length where a header told. Made by `announced`, `ended` and `continued`.
    """

    __slots__ = ("expected", "received")

    def __init__(self, expected: int, received: int, summary: str, details: tuple[str, ...], offset: Optional[int]):
        self.expected = expected
        self.received = received
        super().__init__(summary, details=details, offset=offset)

    @classmethod
    def announced(cls, expected: int, what: str, length: int, *, at_least: bool = False) -> LengthDiffers:
        """A header announces `length` bytes where `expected` are; `what` describes these: ``b'abc'``, ``for ...``."""
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
        """The message ended after `received` bytes, the `last` of which are known; `whole` is the expected one."""
        return cls(
            expected,
            received,
            f"expected {_lengths(expected, what, at_least)}, got {received}{_known(received, last)}",
            difference_rows(whole, last, received) if whole and len(last) == received else (),
            received,
        )

    @classmethod
    def continued(cls, expected: int, what: str, received: int, last: bytes, *, whole: bytes = b"") -> LengthDiffers:
        """The message goes on after `expected` bytes; `received` came so far, the `last` of which are known."""
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
    """The received bytes in parentheses: all of them, or the last that were kept."""
    if len(last) == received:
        return f" ({shorten(last, around)})" if received else ""
    return f" (the last of them {shorten(last, len(last) if around is None else around, 40)})"


class Unmatched(Mismatch):
    """A message isn't what a matcher describes; `expected` is the matcher's repr, `reason` may say more.

    `received` is the message's bytes, or the value inside a message that the matcher was asked about.
    """

    __slots__ = ("expected", "received", "reason")

    def __init__(self, expected: str, received: object, reason: str = "") -> None:
        self.expected = expected
        self.received = received
        self.reason = reason
        super().__init__(f"expected {expected}, got {shorten_repr(received)}{'; ' if reason else ''}{reason}")


class CheckRaised(Unmatched):
    """The user's own check raised an exception, which is kept, with its traceback, in `exception`."""

    __slots__ = ("exception",)

    def __init__(self, expected: str, received: object, exception: BaseException) -> None:
        self.exception = exception
        super().__init__(expected, received, f"the check raised {exception_text(exception)}")


class DigestDiffers(Mismatch):
    """Data has another digest than the expected one; both are hexadecimal, `length` is in bytes."""

    __slots__ = ("expected", "received")

    def __init__(self, algorithm: str, expected: str, received: str, length: int) -> None:
        self.expected = expected
        self.received = received
        super().__init__(f"expected data with the {algorithm} digest {expected}, got {received} of {length} bytes")


class FieldDiffers(Mismatch):
    """A field of a structure has another value; `name` is its name, or its index as the result has it.

    `received` is the field's value, or its bytes so far when they can't become the expected value any more.
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
    """A value in a JSON text isn't the expected one; `path` leads to it as in ``$.params.id``.

    `differences` are all that were found, as pairs of a path and a text; the first one makes the summary.
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
    """A message isn't JSON text; `offset` is the byte at which it ceases to be."""

    __slots__ = ("received",)

    def __init__(self, expected: str, received: bytes, reason: str, offset: Optional[int]) -> None:
        self.received = received
        at = "" if offset is None else f" at byte {offset}"
        super().__init__(
            f"expected {expected}, got {shorten(received, offset)}, which isn't JSON: {reason}{at}", offset=offset
        )


class MalformedFrame(Mismatch):
    """Bytes that can't be a frame; `offset` counts from the frame's first byte, its header included.

    `exception` is what the user's own framing raised, with its traceback, where that was no way to refuse the bytes.
    """

    __slots__ = ("exception",)

    def __init__(
        self, summary: str, *, offset: Optional[int] = None, exception: Optional[BaseException] = None
    ) -> None:
        super().__init__(summary, offset=offset)
        self.exception = exception


class ReadingRaised(Mismatch):
    """The user's own reader or judge, whose class has this `name`, raised `exception`, which keeps its traceback."""

    __slots__ = ("exception",)

    def __init__(self, name: str, exception: BaseException) -> None:
        super().__init__(f"{name} raised {exception_text(exception)}, while a message was read")
        self.exception = exception
