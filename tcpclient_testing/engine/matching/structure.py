"""The matcher for binary structures: a format of the module `struct`, and what is expected in each field."""

from __future__ import annotations

import re
import struct
from functools import partial
from typing import Any, Optional, Union

from tcpclient_testing.engine.arguments import BytesLike, bytes_hint
from tcpclient_testing.engine.mismatches import FieldDiffers, LengthDiffers, Mismatch, Unmatched
from tcpclient_testing.engine.wording import counted, place, shorten, shorten_repr

from .base import Judge, Match, Matcher, apply_to_value

__all__ = ["Struct"]

__unittest = True

_CODES = re.compile(r"(\d*)([a-zA-Z?])")
_BYTEWISE = frozenset("csbBhHiIlLqQnNP")  # each value has exactly one encoding, so a wrong byte is a wrong value


class Struct(Matcher["tuple[Any, ...]"]):
    """Match a message whose fields, unpacked by `struct.unpack`, are the expected ones; the result is the tuple of all.

    - `layout` is a format of `struct`. Without ``>`` or ``<`` it has native order and padding.
    - Then come the expected values, or matchers such as `anything`, one for each field. Fields given by name come after
      the others; mismatches show their names: ``Struct(">HHI", kind=7, flags=anything, size=12)``.
    - A format alone accepts any values.

    A wrong field is a mismatch as soon as its bytes can't become the expected value. If a header announces another
    size, that is a mismatch at the header.

    A matcher in a field gets the field's value (`Predicate`), or its bytes if the field holds bytes. A float is
    compared in the field's precision. Expected bytes that are too short for their field are padded as `struct.pack`
    does.

    Raises `ValueError` for a malformed format, for a wrong number of expected fields, and for a value that doesn't fit
    its field. Raises `TypeError` for an expected `str`, and for a `layout` that isn't a `str`.
    """

    __slots__ = ("layout", "fields", "size", "_struct")

    def __init__(self, layout: str, /, *fields: Any, **named: Any) -> None:
        if not isinstance(layout, str):
            raise TypeError(f"Struct(layout) takes a str such as '>HHI', got {shorten_repr(layout)}")
        try:
            self._struct = struct.Struct(layout)
        except (struct.error, ValueError) as error:
            raise ValueError(f"Struct(layout) takes a format of the module struct, got {layout!r}: {error}") from None
        self.layout = layout
        self.size = self._struct.size
        expected: list[tuple[Optional[str], Any]] = [(None, value) for value in fields]
        expected += named.items()
        self.fields = _fields(layout, expected)

    def __repr__(self) -> str:
        given = [
            shorten_repr(field.expected) if field.name is None else f"{field.name}={shorten_repr(field.expected)}"
            for field in self.fields
            if field.expected is not ...
        ]
        return f"Struct({', '.join([repr(self.layout), *given])})"

    def match(self, message: bytes) -> Union[Match[tuple[Any, ...]], Mismatch]:
        """Judge a whole message."""
        judge = self.judge()
        return judge.feed(message) or judge.finish()

    def judge(self) -> Judge[tuple[Any, ...]]:
        """Return a judge that checks each field as it arrives."""
        return _StructJudge(self, self._struct)


class _Field:
    """One field: its index, name and offset, what is expected, and the encoding of that if there is only one."""

    __slots__ = ("index", "name", "offset", "expected", "struct", "encoding")

    def __init__(self, index: int, name: Optional[str], offset: int, code: str, expected: Any) -> None:
        self.index = index
        self.name = name
        self.offset = offset
        self.struct = struct.Struct(code)
        self.expected = expected
        self.encoding: Optional[bytes] = None
        if expected is not ... and not isinstance(expected, Matcher):
            encoding = self._encoded(expected, code)
            self.expected = self.struct.unpack(encoding)[0]
            self.encoding = encoding if code[-1] in _BYTEWISE else None

    @property
    def label(self) -> str:
        """The name, or the index in the result."""
        return str(self.index) if self.name is None else self.name

    @property
    def end(self) -> int:
        """The offset after the field's last byte."""
        return self.offset + self.struct.size

    def _encoded(self, expected: Any, code: str) -> bytes:
        if isinstance(expected, str):
            raise TypeError(f"Struct field {self.label} takes no str, got {shorten(expected)}; {bytes_hint(expected)}")
        try:
            encoding = self.struct.pack(expected)
        except (struct.error, OverflowError, TypeError) as error:
            text = f"Struct field {self.label} of the format {code!r} can't be {shorten_repr(expected)}: {error}"
            raise ValueError(text) from None
        if isinstance(expected, (bytes, bytearray)) and len(self.struct.unpack(encoding)[0]) < len(expected):
            raise ValueError(
                f"Struct field {self.label} of the format {code!r} is too short for {shorten(bytes(expected))}"
            )
        return encoding

    def differs(self, data: bytes) -> Optional[str]:
        """Say what came instead, judged by the field's bytes that are there; None if nothing is wrong so far."""
        if len(data) < self.struct.size:
            if self.encoding is None or self.encoding.startswith(data):
                return None
            return f"{shorten(data)} so far"
        if self.encoding == data or self.expected is ...:
            return None
        value = self.struct.unpack(data)[0]
        if isinstance(self.expected, Matcher):
            verdict = apply_to_value(self.expected, value)
            if not isinstance(verdict, Mismatch):
                return None
            reason = verdict.reason if isinstance(verdict, Unmatched) else verdict.summary
            return f"{shorten_repr(value)}; {reason}" if reason else shorten_repr(value)
        same = value == self.expected or (value != value and self.expected != self.expected)
        return None if same else shorten_repr(value)


def _fields(layout: str, expected: list[tuple[Optional[str], Any]]) -> tuple[_Field, ...]:
    """Return the fields of a well-formed format, with what is expected in each."""
    order = layout[0] if layout[:1] in tuple("@=<>!") else "@"
    places = []
    before = order
    for count, code in _CODES.findall(layout):
        if code == "x":
            before += count + code
            continue
        pieces = [count + code] if code in "sp" else [code] * int(count or 1)
        for piece in pieces:
            before += piece
            # calcsize() of the format up to here includes the native padding before this field, but none after it
            places.append((order + piece, struct.calcsize(before) - struct.calcsize(order + piece)))
        if not pieces:
            before += count + code  # such as 0I, which only aligns
    if not expected:
        expected = [(None, ...)] * len(places)
    if len(expected) != len(places):
        raise ValueError(f"Struct({layout!r}) has {counted(len(places), 'field')}, got {len(expected)} to expect")
    return tuple(
        _Field(index, name, offset, code, value)
        for index, ((name, value), (code, offset)) in enumerate(zip(expected, places))
    )


class _StructJudge(Judge["tuple[Any, ...]"]):
    __slots__ = ("_matcher", "_struct", "_data", "_next")

    def __init__(self, matcher: Struct, compiled: struct.Struct) -> None:
        super().__init__()
        self._matcher = matcher
        self._struct = compiled
        self._data = bytearray()
        self._next = 0

    def announce(self, length: int) -> Optional[Mismatch]:
        size = self._matcher.size
        return None if length == size else LengthDiffers.announced(size, self._matcher, length)

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        self.received += len(piece)
        self._data += piece[: max(self._matcher.size + 64 - len(self._data), 0)]
        fields = self._matcher.fields
        while self._next < len(fields):
            field = fields[self._next]
            got = field.differs(bytes(self._data[field.offset : field.end]))
            if got is not None:
                return self._differs(field, got)
            if len(self._data) < field.end:
                return None
            self._next += 1
        size = self._matcher.size
        if self.received <= size:
            return None
        return LengthDiffers.continued(size, self._matcher, self.received, bytes(self._data))

    def _differs(self, wrong: _Field, got: str) -> Mismatch:
        where = place(wrong.offset, wrong.end)
        table = partial(self._table, wrong, got)
        return FieldDiffers(wrong.label, where, _shown(wrong.expected), got, wrong.offset, table)

    def _table(self, wrong: _Field, got: str) -> tuple[str, ...]:
        """Show the fields up to the wrong one, one in a row."""
        rows = [("field", "byte", "expected", "received")]
        for field in self._matcher.fields[max(wrong.index - 4, 0) : wrong.index + 1]:
            value = got if field is wrong else shorten_repr(field.struct.unpack_from(self._data, field.offset)[0])
            rows.append((field.label, str(field.offset), _shown(field.expected), value))
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        return tuple(
            f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:<{widths[2]}}  {row[3]}" for row in rows
        )

    def finish(self) -> Union[Match[tuple[Any, ...]], Mismatch]:
        size = self._matcher.size
        if self.received < size:
            return LengthDiffers.ended(size, self._matcher, self.received, bytes(self._data))
        return Match(self._struct.unpack(self._data))

    def partial(self) -> bytes:
        return bytes(self._data)


def _shown(expected: Any) -> str:
    return "anything" if expected is ... else shorten_repr(expected)
