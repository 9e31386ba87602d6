"""The reader of frames that begin with a header that tells the payload's length."""

from __future__ import annotations

from typing import Optional

from .frames import FramePart, FrameReader, FramingError
from .wording import shorten

__all__ = ["HeadedReader"]

__unittest = True

_QUOTED = 16  # bytes after the first of a malformed header that its text quotes


class HeadedReader(FrameReader):
    """Reads a header, which `_parse` understands, and then as many bytes of payload as it says.

    Two states, told apart by `length`: None, while `_header` gathers; and the payload's length, while `_remaining` of
    it are still to come.
    """

    __slots__ = ("_header", "_remaining")

    def __init__(self) -> None:
        self.length = None
        self.started = False
        self._header = b""
        self._remaining = 0

    def feed(self, data: memoryview) -> FramePart:
        """Take header and payload, the payload as a view."""
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
        """Take the header's bytes one by one, and give their number."""
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
        """The payload's length, or None if the header isn't complete; ValueError if it can't become one.

        It is called after each byte, so that a header is refused at the first one that can't be right.
        """
        raise NotImplementedError

    def _hint(self, seen: bytes) -> str:
        """What a malformed header and the bytes after it suggest, if anything."""
        del seen
        return ""

    def needed(self) -> int:
        """The rest of the payload, once the header has come."""
        return 1 if self.length is None else self._remaining

    def unfinished(self) -> bytes:
        """The part of a header."""
        return self._header
