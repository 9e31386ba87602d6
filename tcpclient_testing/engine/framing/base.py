"""The base classes of framings, which divide a byte stream into messages.

A framing is a value in a script. A reader is for one message:

    framing.reader() -> reader
    reader.feed(data)+          until a part is complete, or FramingError

A reader consumes all bytes that it is given until its message is complete, and no byte of the next message. A malformed
message is refused at the first byte that can't be right. These depend on the bytes alone, never on how they were
divided:

- whether a message is malformed, and at which byte
- what its payload is

`HeaderReader` is the base class for readers of frames that begin with a header which gives the payload's length.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from tcpclient_testing.engine.arguments import BytesLike, as_bytes
from tcpclient_testing.engine.mismatches import MalformedFrame, Mismatch
from tcpclient_testing.engine.wording import brief, counted, exception_text, shorten, shorten_repr

__all__ = ["MAX_LENGTH", "FramePart", "FrameReader", "Framing", "FramingError", "GatheringReader", "HeaderReader"]

__unittest = True

MAX_LENGTH = 64 * 1024 * 1024

"""The default limit of a frame's payload: 64 MiB."""

_QUOTED = 16  # how many bytes after the malformed one an error quotes


class FramePart:
    """The result of `FrameReader.feed`.

    It has a piece of `payload`, the number of bytes `consumed`, and whether the message is `complete`. The payload may
    be a view into the data that was fed.
    """

    __slots__ = ("payload", "consumed", "complete")

    def __init__(self, payload: BytesLike, consumed: int, complete: bool) -> None:
        self.payload = payload
        self.consumed = consumed
        self.complete = complete

    def __repr__(self) -> str:
        return f"FramePart({shorten(bytes(self.payload))}, consumed={self.consumed}, complete={self.complete})"


class FramingError(ValueError):
    """Bytes that can't be a frame. `mismatch` says why; its offset counts from the frame's first byte.

    `payload` is the payload before the malformed byte in the same data. Judge it first: if one of its bytes differs,
    that is the earlier mismatch.
    """

    def __init__(self, reason: Union[str, Mismatch], *, offset: Optional[int] = None, payload: BytesLike = b"") -> None:
        self.mismatch = reason if isinstance(reason, Mismatch) else MalformedFrame(reason, offset=offset)
        self.payload = payload
        super().__init__(*([reason] if isinstance(reason, str) else []))

    def __str__(self) -> str:
        return self.mismatch.summary


class FrameReader:
    """Reads one message. Implement `feed` and `waiting_for`.

    `length` is the payload's length in bytes as soon as it is known from a header, else None. `started` says whether
    any byte of the message has come.
    """

    __slots__ = ("length", "started")

    def __init__(self, length: Optional[int] = None) -> None:
        self.length = length
        self.started = False

    def feed(self, data: memoryview) -> FramePart:
        """Take the bytes that follow those consumed before.

        Consume all of them, unless the message is complete before their end. Consume and hold back bytes that may
        belong to a separator; if they turn out not to, return them as payload later. A message of no bytes is completed
        by feeding it no bytes. Raise `FramingError` at the earliest byte that can't be right.

        Callers must not feed a message that is complete.
        """
        raise NotImplementedError

    def needed(self) -> int:
        """Return the least number of bytes that are still to come. Reading so many takes none of the next message."""
        return 1

    def waiting_for(self) -> str:
        """Say what is still to come, for reports of time-outs and ends of stream: ``a frame of 11 bytes``."""
        raise NotImplementedError

    def unfinished(self) -> bytes:
        """Return the bytes that have come but were not interpreted yet: held back, or part of a header."""
        return b""


class Framing:
    """A way to divide a stream of bytes into messages. Subclass it and implement `encode` and `decode`.

    `max_length` is the most bytes that the default reader gathers for one frame, including its header.
    """

    __slots__ = ()

    max_length: int = MAX_LENGTH

    def encode(self, payload: bytes) -> bytes:
        """Return the frame that carries `payload`, as it is sent; raise `ValueError` if no frame can carry it."""
        raise NotImplementedError(f"{type(self).__name__} must implement encode(payload)")

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """Return the payload of the frame at the beginning of `data`, and the whole frame's number of bytes.

        Return None if more bytes are needed; `decode` is called again when more have come. Recognise a frame as soon as
        its last byte is there, without the bytes that follow it. Raise `FramingError`, or `ValueError`, if `data` can't
        be the beginning of a frame.

        This default implementation is for framings that override `reader`, and uses that reader.
        """
        if type(self).reader is Framing.reader:
            raise NotImplementedError(f"{type(self).__name__} must implement decode(data)")
        part = self.reader().feed(memoryview(data))
        return (bytes(part.payload), part.consumed) if part.complete else None

    def reader(self) -> FrameReader:
        """Return a reader for one message. The default one gathers bytes and calls `decode` each time."""
        return GatheringReader(self)


class GatheringReader(FrameReader):
    """The reader of framings that only have `decode`. Its cost grows with the number of pieces times the length."""

    __slots__ = ("_framing", "_gathered")

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self._framing = framing
        self._gathered = b""

    def feed(self, data: memoryview) -> FramePart:
        """Add `data`, and call `decode` with all that has come."""
        self.started = self.started or len(data) > 0
        before = len(self._gathered)
        if not before and not self.started:
            return FramePart(b"", 0, False)
        gathered = self._gathered = self._gathered + bytes(data)
        frame = self._decode(gathered)
        limit = self._framing.max_length
        if (len(gathered) if frame is None else frame[1]) > limit:
            raise FramingError(
                f"expected {self.waiting_for()} of at most {counted(limit, 'byte')}, got more", offset=limit
            )
        if frame is None:
            return FramePart(b"", len(data), False)
        payload, end = frame
        if end <= before:
            raise FramingError(
                f"{type(self._framing).__name__}.decode() asked for more than {counted(before, 'byte')}, and then "
                f"found a frame of {end} in them"
            )
        return FramePart(payload, end - before, True)

    def _decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        try:
            frame: Any = self._framing.decode(data)
        except FramingError:
            raise
        except Exception as error:
            refused = isinstance(error, ValueError)  # anything else is a bug in decode, and its traceback says where
            text = str(error) if refused and str(error) else exception_text(error)
            raise FramingError(MalformedFrame(lambda: f"expected {self.waiting_for()}, got {brief(data)}: {text}",
                                              received=data, exception=None if refused else error)) from error
        if frame is None:
            return None
        if isinstance(frame, tuple) and len(frame) == 2:
            payload, end = frame
            if isinstance(payload, (bytes, bytearray, memoryview)) and isinstance(end, int) and 0 < end <= len(data):
                return bytes(payload), end
        raise FramingError(
            f"{type(self._framing).__name__}.decode() returned {shorten_repr(frame)}; expected None, or the payload "
            f"and a number of bytes from 1 to {len(data)}"
        )

    def waiting_for(self) -> str:
        """Name the frame by the class of its framing."""
        return f"a frame of {type(self._framing).__name__}"

    def unfinished(self) -> bytes:
        """Return all that has come."""
        return self._gathered


def payload_of(value: Any, where: str) -> bytes:
    """Return the payload as bytes; raise `TypeError`, which names `where`, if it isn't a bytes-like object."""
    return value if type(value) is bytes else as_bytes(value, where)


def too_long(payload: bytes, framing: Framing) -> ValueError:
    """Return the error for a payload that is longer than the framing can carry, or than its limit."""
    return ValueError(f"{counted(len(payload), 'byte')} are too long for {framing!r}")


class HeaderReader(FrameReader):
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
                raise FramingError(self._malformed(seen, str(error))) from None
            if length is not None:
                self.length = self._remaining = length
                self._header = b""
                break
        return position

    def _malformed(self, seen: bytes, reason: str) -> MalformedFrame:
        return MalformedFrame(lambda: f"expected {self.waiting_for()}, got {brief(seen)}: {reason}{self._hint(seen)}",
                              received=seen, offset=len(self._header) - 1)

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
