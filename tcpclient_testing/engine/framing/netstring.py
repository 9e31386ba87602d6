"""The framing of netstrings such as ``12:hello world!,`` (D. J. Bernstein, https://cr.yp.to/proto/netstrings.txt)."""

from __future__ import annotations

from typing import Optional

from tcpclient_testing.engine.arguments import as_count
from tcpclient_testing.engine.mismatches import MalformedFrame
from tcpclient_testing.engine.wording import brief, counted

from .base import MAX_LENGTH, FramePart, FrameReader, Framing, FramingError, HeaderReader, payload_of, too_long

__all__ = ["Netstring"]

__unittest = True


class Netstring(Framing):
    """Frames that consist of a decimal length, ``:``, that many bytes of payload, and ``,``.

    `max_length` limits the payload, in bytes. By the definition of netstrings, a length has no leading zeros; the only
    one that begins with a zero is ``0:,``. Raises TypeError or ValueError if `max_length` isn't a number of bytes.
    """

    __slots__ = ("max_length",)

    def __init__(self, *, max_length: int = MAX_LENGTH) -> None:
        self.max_length = as_count(max_length, "Netstring(max_length=...)", 0)

    def __repr__(self) -> str:
        return f"Netstring({'' if self.max_length == MAX_LENGTH else f'max_length={self.max_length}'})"

    def encode(self, payload: bytes) -> bytes:
        """Return the netstring; raise ValueError if the payload is longer than `max_length`."""
        payload = payload_of(payload, "Netstring.encode(payload)")
        if len(payload) > self.max_length:
            raise too_long(payload, self)
        return b"%d:%b," % (len(payload), payload)

    def reader(self) -> FrameReader:
        """Return a reader for one message."""
        return _NetstringReader(self.max_length)


class _NetstringReader(HeaderReader):
    __slots__ = ("_max_length",)

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self._max_length = max_length

    def feed(self, data: memoryview) -> FramePart:
        part = super().feed(data)
        if not part.complete:
            return part
        end = part.consumed
        if end == len(data):  # the payload is complete, but its comma is still to come
            return FramePart(part.payload, end, False)
        if data[end] != ord(","):
            seen = bytes(data[end : end + 16])
            offset = len(f"{self.length}:") + (self.length or 0)
            mismatch = MalformedFrame(lambda: f"expected {self.waiting_for()}, got {brief(seen)}",
                                      received=seen, offset=offset)
            raise FramingError(mismatch, payload=part.payload)
        return FramePart(part.payload, end + 1, True)

    def _parse(self, header: bytes) -> Optional[int]:
        last = header[-1:]
        if last == b":" and len(header) > 1:
            return int(header[:-1])
        if not last.isdigit():
            raise ValueError(
                "it doesn't begin with a digit" if len(header) == 1 else f"{last!r} is no digit and no b':'"
            )
        if header[:1] == b"0" and len(header) > 1:
            raise ValueError("a leading zero")
        if int(header) > self._max_length:
            raise ValueError(f"a length of at least {int(header)}, more than max_length {self._max_length}")
        return None

    def needed(self) -> int:
        return 1 if self.length is None else self._remaining + 1

    def waiting_for(self) -> str:
        if self.length is None:
            return "the length of a netstring"
        what = f"a netstring of {counted(self.length, 'byte')}"
        return what if self._remaining else f"b',' after {what}"
