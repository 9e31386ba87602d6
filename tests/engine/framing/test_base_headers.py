"""Tests of the reader of frames with a header, by the smallest of its kind."""

from __future__ import annotations

import unittest
from typing import Optional

from tcpclient_testing.engine.framing.base import FramingError, HeaderReader


class Digit(HeaderReader):
    """One decimal digit, then so many bytes."""

    def _parse(self, header: bytes) -> Optional[int]:
        return int(header)

    def waiting_for(self) -> str:
        return "a digit"


class HeadedReaderTests(unittest.TestCase):
    """A subclass understands the header, the rest is done for it."""

    def test_header_and_payload(self) -> None:
        """The length is known once the header has come, and the payload is passed on."""
        reader = Digit()
        self.assertEqual((reader.length, reader.needed(), reader.started), (None, 1, False))
        part = reader.feed(memoryview(b"3a"))
        self.assertEqual((bytes(part.payload), part.consumed, part.complete), (b"a", 2, False))
        self.assertEqual((reader.length, reader.needed(), reader.started), (3, 2, True))
        part = reader.feed(memoryview(b"bcd"))
        self.assertEqual((bytes(part.payload), part.consumed, part.complete), (b"bc", 2, True))

    def test_header_that_is_refused(self) -> None:
        """A ValueError of the subclass becomes a FramingError that quotes the header and what follows."""
        with self.assertRaises(FramingError) as caught:
            Digit().feed(memoryview(b"x" + bytes(range(65, 91))))
        self.assertEqual(
            str(caught.exception),
            "expected a digit, got b'xABCDEFGHIJKLMNOP': invalid literal for int() with base 10: b'x'",
        )
        self.assertEqual(caught.exception.mismatch.offset, 0)

    def test_parse_is_abstract(self) -> None:
        """A subclass has to say what a header means."""
        with self.assertRaises(NotImplementedError):
            HeaderReader().feed(memoryview(b"x"))
