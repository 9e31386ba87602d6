"""The framing `Varint`: each payload comes after its length, a varint, as in streams of protocol buffers.

The encoding is unsigned LEB128: seven bits per byte, the lowest first. The high bit is set on all bytes but the last.
A varint has ten bytes at most, for 64 bits. Sources: https://protobuf.dev/programming-guides/encoding/#varints, and
"delimited" messages in https://protobuf.dev/programming-guides/techniques/#streaming.
"""

from __future__ import annotations

from typing import Optional

from tcpclient_testing.engine.arguments import as_count
from tcpclient_testing.engine.wording import counted

from .base import MAX_LENGTH, FrameReader, Framing, HeaderReader, payload_of, too_long

__all__ = ["Varint"]

__unittest = True

_MAX_SIZE = 10


class Varint(Framing):
    """Frames of a varint length (unsigned LEB128, as in protocol buffers) and a payload of that many bytes.

    `max_length` limits the payload, in bytes. A length may be written with more bytes than it needs, up to ten: the
    parsers of protocol buffers accept that. Raises `TypeError` or `ValueError` if `max_length` isn't a number of bytes.
    """

    __slots__ = ("max_length",)

    def __init__(self, *, max_length: int = MAX_LENGTH) -> None:
        self.max_length = as_count(max_length, "Varint(max_length=...)", 0)

    def __repr__(self) -> str:
        return f"Varint({'' if self.max_length == MAX_LENGTH else f'max_length={self.max_length}'})"

    def encode(self, payload: bytes) -> bytes:
        """Return the length, in the fewest bytes possible, and the payload; `ValueError` if it exceeds `max_length`."""
        payload = payload_of(payload, "Varint.encode(payload)")
        length = len(payload)
        if length > self.max_length:
            raise too_long(payload, self)
        header = bytearray()
        while length > 0x7F:
            header.append(length & 0x7F | 0x80)
            length >>= 7
        header.append(length)
        return bytes(header) + payload

    def reader(self) -> FrameReader:
        """Return a reader for one message."""
        return _VarintReader(self.max_length)


class _VarintReader(HeaderReader):
    __slots__ = ("_max_length",)

    def __init__(self, max_length: int) -> None:
        super().__init__()
        self._max_length = max_length

    def _parse(self, header: bytes) -> Optional[int]:
        last = header[-1]
        if len(header) == _MAX_SIZE and last > 1:
            raise ValueError("a varint of more than 64 bits")
        length = 0
        for byte in reversed(header):
            length = length << 7 | byte & 0x7F
        if length > self._max_length:
            about = "at least " if last & 0x80 else ""
            raise ValueError(f"a length of {about}{length}, more than max_length {self._max_length}")
        return None if last & 0x80 else length

    def waiting_for(self) -> str:
        return "the varint length of a frame" if self.length is None else f"a frame of {counted(self.length, 'byte')}"
