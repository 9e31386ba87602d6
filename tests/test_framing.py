"""Tests of the public module of framings, and of its helpers for clients."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import unittest
from typing import Optional

from tcpclient_testing import framing
from tcpclient_testing.framing import (
    Delimited,
    FixedLength,
    Framing,
    FramingError,
    LengthPrefixed,
    Netstring,
    Varint,
    read_frame,
    write_frame,
)

FRAMINGS: list[Framing] = [
    LengthPrefixed(2, includes_header=True),
    Delimited(b"\r\n\r\n"),
    Netstring(),
    Varint(),
    FixedLength(5),
]


class Chunk(Framing):
    """The example of the module's docstring."""

    def encode(self, payload: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(payload), payload)

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        header, found, rest = data.partition(b"\r\n")
        if not found:
            return None
        length = int(header, 16)
        if len(rest) < length + 2:
            return None
        return rest[:length], len(header) + 2 + length + 2


class Writer:
    """A stand-in for asyncio.StreamWriter that keeps what is written."""

    def __init__(self) -> None:
        self.written = b""

    def write(self, data: bytes) -> None:
        self.written += data


def stream(data: bytes, *, end: bool = True) -> asyncio.StreamReader:
    """A stream from which the data can be read."""
    reader = asyncio.StreamReader()
    reader.feed_data(data)
    if end:
        reader.feed_eof()
    return reader


class ReadFrameTests(unittest.IsolatedAsyncioTestCase):
    """Frames out of an asyncio stream."""

    async def test_read_frame_of_each_framing(self) -> None:
        """One frame is read, and no byte of the next."""
        for each in [*FRAMINGS, Chunk()]:
            with self.subTest(framing=repr(each)):
                reader = stream(each.encode(b"Hello") + each.encode(b"World") + b"rest", end=False)
                self.assertEqual(await read_frame(reader, framing=each), b"Hello")
                self.assertEqual(await read_frame(reader, framing=each), b"World")
                self.assertEqual(await reader.readexactly(4), b"rest")

    async def test_read_frame_by_default(self) -> None:
        """Unless told otherwise a frame has a length of four bytes, as the server's."""
        self.assertEqual(await read_frame(stream(b"\0\0\0\5Hello")), b"Hello")
        self.assertEqual(await read_frame(stream(b"\0\0\0\0")), b"")
        self.assertEqual(await read_frame(stream(b""), framing=FixedLength(0)), b"")

    async def test_read_frame_in_pieces(self) -> None:
        """A frame that arrives bit by bit is awaited."""
        reader = stream(b"", end=False)
        task = asyncio.ensure_future(read_frame(reader))
        for byte in b"\0\0\0\5Hello":
            reader.feed_data(bytes((byte,)))
            await asyncio.sleep(0)
        self.assertEqual(await task, b"Hello")

    async def test_read_frame_at_the_end_of_the_stream(self) -> None:
        """The error has what came of the frame: nothing at an end between two frames."""
        for data in (b"", b"\0\0", b"\0\0\0\5Hel"):
            with self.subTest(data=data), self.assertRaises(asyncio.IncompleteReadError) as caught:
                await read_frame(stream(data))
            self.assertEqual(caught.exception.partial, data)
            self.assertEqual(caught.exception.expected, 9 if len(data) > 4 else 4)

    async def test_read_frame_that_is_malformed(self) -> None:
        """A malformed frame is an error at once."""
        with self.assertRaisesRegex(FramingError, "expected the length of a netstring"):
            await read_frame(stream(b"x", end=False), framing=Netstring())


class WriteFrameTests(unittest.TestCase):
    """Frames into an asyncio stream."""

    def test_write_frame(self) -> None:
        """The frame is written as a whole."""
        writer = Writer()
        write_frame(writer, b"Hello")  # type: ignore[arg-type]
        write_frame(writer, bytearray(b"Hello"), framing=Netstring())  # type: ignore[arg-type]
        self.assertEqual(writer.written, b"\0\0\0\5Hello5:Hello,")

    def test_write_frame_of_str(self) -> None:
        """A str is refused with what to write."""
        with self.assertRaisesRegex(TypeError, r"write_frame\(payload\) takes bytes, got the str 'a'; write b'a'"):
            write_frame(Writer(), "a")  # type: ignore[arg-type]


class FramingModuleTests(unittest.TestCase):
    """The module itself."""

    def test_import_is_light(self) -> None:
        """Importing framings and matchers loads no json, hashlib or unittest."""
        code = (
            "import sys, tcpclient_testing.framing, tcpclient_testing.matchers; "
            "print([name for name in ('json', 'hashlib', 'unittest') if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")

    def test_public_names(self) -> None:
        """All that is promised is there."""
        for name in framing.__all__:
            self.assertTrue(hasattr(framing, name), name)
