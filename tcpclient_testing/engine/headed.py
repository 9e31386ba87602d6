"""A base class for readers of frames that begin with a header which gives the payload's length."""

from __future__ import annotations

from typing import Optional

from .frames import FramePart, FrameReader, FramingError
from .wording import shorten

__all__ = ["HeadedReader"]

__unittest = True

_QUOTED = 16  # how many bytes after the malformed one an error quotes


class HeadedReader(FrameReader):
    """Reads a header, which `_parse` interprets, and then as many bytes of payload as the header announces.

    It has two states:

    - `length` is None: the header's bytes are gathered in `_header`.
    - `length` is the payload's length: `_remaining` bytes of the payload are still to come.
    """

    __slots__ = ("_header", "_remaining")

    def __init__(self) -> None:
        self.length = None
        self.started = False
        self._header = b""
        self._remaining = 0

    def feed(self, data: memoryview) -> FramePart:
        """Take header and payload. The payload is returned as a view into `data`."""
        size = len(data)
        if size:
            self.started = True
        start = 0
        if self.length is None:
            start = self._read_header(data)
            if self.length is None:
                return FramePart(b"", start, False)
        stop = min(start + self._remaining, size)
        self._remaining -= stop - start
        return FramePart(data[start:stop], stop, self._remaining == 0)

    def _read_header(self, data: memoryview) -> int:
        """Take the header's bytes one by one, and return their number."""
        position = 0
        for byte in data:
            position += 1
            self._header += bytes((byte,))
            try:
                length = self._parse(self._header)
            except ValueError as error:
                seen = self._header + bytes(data[position : position + _QUOTED])
                reason = f"expected {self.waiting_for()}, got {shorten(seen)}: {error}{self._hint(seen)}"
                raise FramingError(reason, offset=len(self._header) - 1) from None
            if length is not None:
                self.length = self._remaining = length
                self._header = b""
                break
        return position

    def _parse(self, header: bytes) -> Optional[int]:
        """Return the payload's length, or None if the header is incomplete. Raise ValueError if it can't become valid.

        It is called after each byte, so that a header is refused at the first byte that can't be right.
        """
        raise NotImplementedError

    def _hint(self, seen: bytes) -> str:
        """Return a hint that a malformed header and the bytes after it suggest, or ""."""
        del seen
        return ""

    def needed(self) -> int:
        """Return the length of the rest of the payload once the header has come; 1 before."""
        return 1 if self.length is None else self._remaining

    def unfinished(self) -> bytes:
        """Return the part of the header that has come."""
        return self._header
