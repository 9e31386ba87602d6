"""How a byte stream is divided into messages: the base classes of framings.

A framing is a value that stands in a script; a reader belongs to one message:

    framing.reader() -> reader
    reader.feed(data)+          until a part is complete, or FramingError

A reader consumes all that it is given until its message is complete, and nothing of the next one. Whether a message
is malformed, at which byte, and what its payload is, are functions of the bytes alone, never of how they were
divided; a malformed one is refused at the first byte that can't be right.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from .arguments import as_bytes
from .judging import BytesLike
from .mismatches import MalformedFrame, Mismatch
from .wording import counted, exception_text, shorten, shorten_repr

__all__ = ["MAX_LENGTH", "FramePart", "FrameReader", "Framing", "FramingError", "GatheringReader"]

__unittest = True

MAX_LENGTH = 64 * 1024 * 1024
"""The default limit of a frame's payload: 64 MiB."""


class FramePart:
    """What a reader made of some bytes: a piece of `payload`, the number of bytes `consumed`, whether it is `complete`.

    The payload may be a view into what was fed.
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

    `payload` is the piece of payload that stood before the malformed byte in the same data: judge that first, since a
    byte in it that differs is the earlier mismatch.
    """

    def __init__(self, reason: Union[str, Mismatch], *, offset: Optional[int] = None, payload: BytesLike = b"") -> None:
        self.mismatch = reason if isinstance(reason, Mismatch) else MalformedFrame(reason, offset=offset)
        self.payload = payload
        super().__init__(self.mismatch.summary)


class FrameReader:
    """Reads one message. Implement `feed` and `waiting_for`.

    `length` is the payload's length in bytes as soon as it is known from a header, else None; `started` tells whether
    any byte of the message has come.
    """

    __slots__ = ("length", "started")

    def __init__(self, length: Optional[int] = None) -> None:
        self.length = length
        self.started = False

    def feed(self, data: memoryview) -> FramePart:
        """Take the bytes that follow all those consumed before.

        All of them are consumed unless the message is complete before their end. Bytes that may belong to a separator
        are consumed and held back, to come as payload later if they do not. Don't feed a complete message. A message
        of no bytes at all is completed by feeding nothing. `FramingError` at the earliest byte that can't be right.
        """
        raise NotImplementedError

    def needed(self) -> int:
        """How many bytes the message has still to come at least; reading so many never takes any of the next one."""
        return 1

    def waiting_for(self) -> str:
        """What is still to come, for time-outs and ends of stream: ``a frame of 11 bytes``."""
        raise NotImplementedError

    def unfinished(self) -> bytes:
        """The bytes that have come and are neither payload yet nor understood: held back, or part of a header."""
        return b""


class Framing:
    """A way to divide a stream of bytes into messages. Subclass it and implement `encode` and `decode`.

    `max_length` is the most bytes that the default reader gathers for one frame, its header included.
    """

    __slots__ = ()

    max_length: int = MAX_LENGTH

    def encode(self, payload: bytes) -> bytes:
        """The frame that carries `payload`, as it goes over the wire; ValueError if no frame can."""
        raise NotImplementedError(f"{type(self).__name__} must implement encode(payload)")

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The payload of the frame with which `data` begins, and the number of bytes of the whole frame.

        None if more bytes are needed; then it is called again when more have come. A frame must be recognised
        when its last byte is there, without a look at what follows. Raise `FramingError`, or ValueError, if `data`
        can't be the beginning of a frame.

        This one is for framings that have a reader of their own, and asks it.
        """
        if type(self).reader is Framing.reader:
            raise NotImplementedError(f"{type(self).__name__} must implement decode(data)")
        part = self.reader().feed(memoryview(data))
        return (bytes(part.payload), part.consumed) if part.complete else None

    def reader(self) -> FrameReader:
        """A reader for one message. This one gathers bytes and asks `decode` each time."""
        return GatheringReader(self)


class GatheringReader(FrameReader):
    """The reader of framings that only have `decode`; its cost grows with the number of pieces times the length."""

    __slots__ = ("_framing", "_gathered")

    def __init__(self, framing: Framing) -> None:
        super().__init__()
        self._framing = framing
        self._gathered = b""

    def feed(self, data: memoryview) -> FramePart:
        """Ask `decode` about all that has come."""
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
            refused = isinstance(error, ValueError)  # else decode itself is wrong, and its traceback says where
            text = str(error) if refused and str(error) else exception_text(error)
            raise FramingError(MalformedFrame(f"expected {self.waiting_for()}, got {shorten(data)}: {text}",
                                              exception=None if refused else error)) from error
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
        """A frame, by the name of its framing."""
        return f"a frame of {type(self._framing).__name__}"

    def unfinished(self) -> bytes:
        """All that has come."""
        return self._gathered


def payload_of(value: Any, where: str) -> bytes:
    """The payload as bytes; TypeError naming `where` for anything but bytes-like objects."""
    return value if type(value) is bytes else as_bytes(value, where)


def too_long(payload: bytes, framing: Framing) -> ValueError:
    """What is raised for a payload that the framing can't or may not carry."""
    return ValueError(f"{counted(len(payload), 'byte')} are too long for {framing!r}")
