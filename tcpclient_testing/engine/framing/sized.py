"""The framings for messages of a known length: a header announces it, or the script gives it.

The cost is linear in the number of bytes, however these are divided. Payload is passed on as views, without a copy.
"""

from __future__ import annotations

from typing import Literal, Optional

from tcpclient_testing.engine.arguments import as_count
from tcpclient_testing.engine.wording import counted, shorten_repr

from .base import MAX_LENGTH, FramePart, FrameReader, Framing, HeaderReader, payload_of, too_long

__all__ = ["FixedLength", "LengthPrefixed"]

__unittest = True


class FixedLength(Framing):
    """Messages of `length` bytes each, with nothing between them.

    Raises `TypeError` if the length isn't an int, `ValueError` if it is negative.
    """

    __slots__ = ("length",)

    def __init__(self, length: int) -> None:
        self.length = as_count(length, "FixedLength(length)", 0)

    def __repr__(self) -> str:
        return f"FixedLength({self.length})"

    def encode(self, payload: bytes) -> bytes:
        """Return the payload itself; raise `ValueError` if it has another length."""
        payload = payload_of(payload, "FixedLength.encode(payload)")
        if len(payload) != self.length:
            raise ValueError(f"a payload for {self!r} has {counted(self.length, 'byte')}, got {len(payload)}")
        return payload

    def reader(self) -> FrameReader:
        """Return a reader for one message."""
        return _FixedReader(self.length)


class _FixedReader(FrameReader):
    __slots__ = ("_remaining",)

    def __init__(self, length: int) -> None:
        self.length = length
        self.started = False
        self._remaining = length

    def feed(self, data: memoryview) -> FramePart:
        size = len(data)
        remaining = self._remaining
        if size and remaining:
            self.started = True
        if size >= remaining:
            self._remaining = 0
            return FramePart(data[:remaining], remaining, True)
        self._remaining = remaining - size
        return FramePart(data, size, False)

    def needed(self) -> int:
        return self._remaining

    def waiting_for(self) -> str:
        return counted(self.length or 0, "byte")


class LengthPrefixed(Framing):
    """Frames that are a binary length and then so many bytes of payload.

    - `size` is the size of the length field in bytes, 1 to 8.
    - `byteorder` is "big" or "little".
    - With `includes_header` the length counts its own field, too.
    - `max_length` is the longest payload, in bytes. So garbage, or another protocol, isn't taken for a huge frame whose
      end is then awaited.

    Raises `TypeError` or `ValueError` for other values.
    """

    __slots__ = ("size", "byteorder", "includes_header", "max_length")

    def __init__(
        self,
        size: int = 4,
        *,
        byteorder: Literal["big", "little"] = "big",
        includes_header: bool = False,
        max_length: int = MAX_LENGTH,
    ) -> None:
        self.size = as_count(size, "LengthPrefixed(size)", 1, 8)
        if byteorder not in ("big", "little"):
            raise ValueError(f"LengthPrefixed(byteorder=...) must be 'big' or 'little', got {shorten_repr(byteorder)}")
        self.byteorder: Literal["big", "little"] = byteorder
        self.includes_header = bool(includes_header)
        self.max_length = as_count(max_length, "LengthPrefixed(max_length=...)", 0)

    def __repr__(self) -> str:
        byteorder = "" if self.byteorder == "big" else f", byteorder={self.byteorder!r}"
        header = ", includes_header=True" if self.includes_header else ""
        limit = "" if self.max_length == MAX_LENGTH else f", max_length={self.max_length}"
        return f"LengthPrefixed({self.size}{byteorder}{header}{limit})"

    def encode(self, payload: bytes) -> bytes:
        """Return the length and the payload.

        Raises `ValueError` if the payload is longer than `max_length`, or than the length field can express.
        """
        payload = payload_of(payload, "LengthPrefixed.encode(payload)")
        length = len(payload) + (self.size if self.includes_header else 0)
        if len(payload) > self.max_length or length >> (8 * self.size):
            raise too_long(payload, self)
        return length.to_bytes(self.size, self.byteorder) + payload

    def reader(self) -> FrameReader:
        """Return a reader for one message."""
        return _PrefixedReader(self)


class _PrefixedReader(HeaderReader):
    __slots__ = ("_framing",)

    def __init__(self, framing: LengthPrefixed) -> None:
        super().__init__()
        self._framing = framing

    def _read_header(self, data: memoryview) -> int:
        framing = self._framing
        size = framing.size
        if not self._header and len(data) >= size:  # the common case; all else is read byte by byte
            length = int.from_bytes(data[:size], framing.byteorder)
            if framing.includes_header:
                length -= size
            if 0 <= length <= framing.max_length:
                self.length = self._remaining = length
                return size
        return super()._read_header(data)

    def _parse(self, header: bytes) -> Optional[int]:
        framing = self._framing
        least, most = self._bounds(header)
        own = framing.size if framing.includes_header else 0
        about = "" if least == most else "at least "
        if least - own > framing.max_length:
            raise ValueError(f"a length of {about}{least - own}, more than max_length {framing.max_length}")
        if most < own:
            raise ValueError(f"a length of {most}, less than the {own} bytes of the header that it includes")
        return least - own if len(header) == framing.size else None

    def _bounds(self, header: bytes) -> tuple[int, int]:
        """Return the least and the greatest length that a length field beginning with `header` can have."""
        missing = self._framing.size - len(header)
        if self._framing.byteorder == "big":
            return int.from_bytes(header + b"\0" * missing, "big"), int.from_bytes(header + b"\xff" * missing, "big")
        return int.from_bytes(header, "little"), int.from_bytes(header + b"\xff" * missing, "little")

    def _hint(self, seen: bytes) -> str:
        """Mention the length in the other byte order, if that would be valid: a frequent mistake."""
        framing = self._framing
        if len(seen) < framing.size or framing.size == 1:
            return ""
        other: Literal["big", "little"] = "little" if framing.byteorder == "big" else "big"
        length = int.from_bytes(seen[: framing.size], other) - (framing.size if framing.includes_header else 0)
        return f"; {length} in {other}-endian order" if 0 <= length <= framing.max_length else ""

    def needed(self) -> int:
        return self._framing.size - len(self._header) if self.length is None else self._remaining

    def waiting_for(self) -> str:
        if self.length is None:
            return f"the {self._framing.size}-byte length of a frame"
        return f"a frame of {counted(self.length, 'byte')}"
