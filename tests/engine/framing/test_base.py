"""Tests of the base classes of framings, and of framings as users write them."""

from __future__ import annotations

from typing import Any, Optional

from tcpclient_testing.engine.framing.base import FramePart, FrameReader, Framing, FramingError
from tcpclient_testing.engine.mismatches import MalformedFrame, Mismatch
from tests.engine.feeding import FeedingTestCase, read


class Chunk(Framing):
    """A chunk of HTTP/1.1 (RFC 9112, section 7.1), as a user would write it."""

    max_length = 100

    def encode(self, payload: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(payload), payload)

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        header, found, rest = data.partition(b"\r\n")
        if not found:
            return None
        length = int(header, 16)
        if len(rest) < length + 2:
            return None
        if rest[length : length + 2] != b"\r\n":
            raise FramingError("expected a line ending after a chunk", offset=len(header) + 2 + length)
        return rest[:length], len(header) + 2 + length + 2


class Returning(Framing):
    """A framing whose decode returns, or raises, what the test says."""

    def __init__(self, *outcomes: Any) -> None:
        self.outcomes = list(outcomes)

    def decode(self, data: bytes) -> Any:
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class FramingTests(FeedingTestCase):
    """A user's own framing needs only encode and decode."""

    def test_frames_of_a_users_framing(self) -> None:
        """However the bytes are divided, decode gets as many of them as it needs."""
        self.assertRoundTrip(Chunk(), b"Hello", b"5\r\nHello\r\n")
        self.assertRoundTrip(Chunk(), b"", b"0\r\n\r\n")
        outcome = self.assertReads(Chunk(), b"5\r\nHel")
        self.assertEqual(outcome, ("unfinished", b"", 1, "a frame of Chunk", b"5\r\nHel"))

    def test_frames_that_decode_refuses(self) -> None:
        """A FramingError is passed on, a ValueError explained."""
        self.assertEqual(self.assertReads(Chunk(), b"1\r\nabc"), ("malformed", b"", 4))
        with self.assertRaises(FramingError) as caught:
            Chunk().reader().feed(memoryview(b"x\r\n"))
        self.assertEqual(
            str(caught.exception),
            r"expected a frame of Chunk, got b'x\r\n': invalid literal for int() with base 16: b'x'",
        )
        self.assertIsInstance(caught.exception.__cause__, ValueError)

    def test_frames_without_an_end(self) -> None:
        """No more than max_length bytes are gathered, however they are divided."""
        for pieces in ([b"x" * 101], [b"x"] * 101, [b"60\r\n" + b"x" * 96 + b"\r\n"]):
            self.assertEqual(read(Chunk(), pieces), ("malformed", b"", 100))
        self.assertEqual(read(Chunk(), [b"x"] * 100)[0], "unfinished")

    def test_decode_that_returns_nonsense(self) -> None:
        """What decode may not return is told with the name of the framing."""
        wanted = "expected None, or the payload and a number of bytes from 1 to 4"
        rows: list[tuple[Any, str]] = [
            (
                b"abc",
                f"Returning.decode() returned b'abc'; {wanted}",
            ),
            (
                ("abc", 3),
                f"Returning.decode() returned ('abc', 3); {wanted}",
            ),
            (
                (b"", 0),
                f"Returning.decode() returned (b'', 0); {wanted}",
            ),
            (
                (b"", 5),
                f"Returning.decode() returned (b'', 5); {wanted}",
            ),
            (KeyError("x"), "expected a frame of Returning, got b'data': KeyError: 'x'"),
            (ValueError(), "expected a frame of Returning, got b'data': ValueError"),
        ]
        for outcome, text in rows:
            with self.subTest(outcome=outcome), self.assertRaises(FramingError) as caught:
                Returning(outcome).reader().feed(memoryview(b"data"))
            self.assertEqual(str(caught.exception), text)

    def test_decode_that_looks_ahead(self) -> None:
        """A decode that recognises a frame too late would take bytes of the next one: refused."""
        reader = Returning(None, (b"ab", 2)).reader()
        reader.feed(memoryview(b"ab"))
        with self.assertRaises(FramingError) as caught:
            reader.feed(memoryview(b"c"))
        text = "Returning.decode() asked for more than 2 bytes, and then found a frame of 2 in them"
        self.assertEqual(str(caught.exception), text)

    def test_decode_is_not_asked_about_nothing(self) -> None:
        """Before the first byte there is nothing to decode."""
        part = Returning().reader().feed(memoryview(b""))
        self.assertEqual((part.payload, part.consumed, part.complete), (b"", 0, False))

    def test_methods_that_are_missing(self) -> None:
        """A framing without encode or decode is told to have one."""
        with self.assertRaisesRegex(NotImplementedError, r"Framing must implement encode\(payload\)"):
            Framing().encode(b"")
        with self.assertRaisesRegex(NotImplementedError, r"Framing must implement decode\(data\)"):
            Framing().decode(b"")
        reader = FrameReader(3)
        self.assertEqual((reader.length, reader.started, reader.needed(), reader.unfinished()), (3, False, 1, b""))
        for call in (lambda: reader.feed(memoryview(b"")), reader.waiting_for):
            with self.assertRaises(NotImplementedError):
                call()


class FramingErrorTests(FeedingTestCase):
    """Errors carry a mismatch."""

    def test_framing_error_of_text_and_mismatch(self) -> None:
        """Text becomes a mismatch, and a mismatch is kept."""
        error = FramingError("no magic", offset=0)
        self.assertIsInstance(error.mismatch, MalformedFrame)
        self.assertEqual((error.mismatch.summary, error.mismatch.offset, str(error)), ("no magic", 0, "no magic"))
        mismatch = Mismatch("other")
        self.assertIs(FramingError(mismatch).mismatch, mismatch)
        self.assertEqual(FramingError(mismatch).payload, b"")

    def test_frame_part_repr(self) -> None:
        """A part shows its payload."""
        part = FramePart(memoryview(b"abc"), 4, True)
        self.assertEqual(repr(part), "FramePart(b'abc', consumed=4, complete=True)")
