r"""Framings, which divide a stream of bytes into messages, and helpers for clients that use them.

`LengthPrefixed`, `Delimited`, `Netstring`, `FixedLength` and `Varint` are the usual ones. To write your own, subclass
`Framing`::

    class Chunk(Framing):
        def encode(self, payload):
            return b"%x\r\n%b\r\n" % (len(payload), payload)

        def decode(self, data):
            header, found, rest = data.partition(b"\r\n")
            if not found:
                return None
            length = int(header, 16)                  # ValueError: the frame is malformed
            if len(rest) < length + 2:
                return None
            return rest[:length], len(header) + 2 + length + 2

`read_frame` and `write_frame` are for clients in tests that use asyncio's streams.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .engine.arguments import as_bytes
from .engine.framing.base import FramePart, FrameReader, Framing, FramingError
from .engine.framing.delimited import Delimited
from .engine.framing.netstring import Netstring
from .engine.framing.sized import FixedLength, LengthPrefixed
from .engine.framing.varint import Varint

if TYPE_CHECKING:
    import asyncio

    from .engine.arguments import BytesLike

__all__ = [
    "Delimited",
    "FixedLength",
    "LengthPrefixed",
    "Netstring",
    "Varint",
    "Framing",
    "FramingError",
    "FramePart",
    "FrameReader",
    "read_frame",
    "write_frame",
]

__unittest = True

_DEFAULT = LengthPrefixed(4)


async def read_frame(reader: asyncio.StreamReader, *, framing: Framing = _DEFAULT) -> bytes:
    """Read one frame from an asyncio stream, and not a byte more. Return its payload.

    Raises `asyncio.IncompleteReadError` at the end of the stream, as ``reader.readexactly()`` does. Its `partial` holds
    the bytes of the frame that have arrived: ``b""`` if the stream ends between two frames. Raises `FramingError` for
    a malformed frame; don't read from the stream after that.

    Lines and other headers of unknown length are read a few bytes at a time, out of the reader's buffer.
    """
    frame = framing.reader()
    payload: list[bytes] = []
    raw: list[bytes] = []
    data = b""
    while True:
        part = frame.feed(memoryview(data))
        payload.append(bytes(part.payload))
        if part.complete:
            return b"".join(payload)
        data = await reader.read(frame.needed())
        if not data:
            import asyncio

            partial = b"".join(raw)
            raise asyncio.IncompleteReadError(partial, len(partial) + frame.needed())
        raw.append(data)


def write_frame(writer: asyncio.StreamWriter, payload: BytesLike, *, framing: Framing = _DEFAULT) -> None:
    """Write one frame to an asyncio stream. If you write much, await ``writer.drain()`` afterwards.

    Raises TypeError if the payload isn't bytes, and ValueError if the framing can't carry it.
    """
    writer.write(framing.encode(as_bytes(payload, "write_frame(payload)")))
