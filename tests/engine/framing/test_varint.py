"""Tests of frames with a varint length."""

from __future__ import annotations

from tcpclient_testing.engine.framing.varint import Varint
from tests.engine.feeding import FeedingTestCase


class VarintTests(FeedingTestCase):
    """Unsigned LEB128, then the payload."""

    def test_varint_round_trip(self) -> None:
        """Lengths of one, two and three bytes; 300 is the example of protocol buffers' documentation."""
        self.assertRoundTrip(Varint(), b"", b"\0")
        self.assertRoundTrip(Varint(), b"abc", b"\3abc")
        self.assertRoundTrip(Varint(), b"x" * 127, b"\x7f" + b"x" * 127)
        self.assertRoundTrip(Varint(), b"x" * 128, b"\x80\1" + b"x" * 128)
        self.assertRoundTrip(Varint(), b"x" * 300, b"\xac\2" + b"x" * 300)
        self.assertEqual(Varint().encode(bytes(16384))[:4], b"\x80\x80\1\0")

    def test_varint_longer_than_it_needs(self) -> None:
        """Up to ten bytes are accepted, though one would do."""
        self.assertEqual(self.assertReads(Varint(), b"\x83" + b"\x80" * 8 + b"\0abc"), ("frame", b"abc", 13))

    def test_varint_unfinished(self) -> None:
        """What is awaited is the length, or the payload."""
        for data, outcome in (
            (b"", (b"", 1, "the varint length of a frame", b"")),
            (b"\xac", (b"", 1, "the varint length of a frame", b"\xac")),
            (b"\3a", (b"a", 2, "a frame of 3 bytes", b"")),
        ):
            self.assertEqual(self.assertReads(Varint(), data), ("unfinished", *outcome))

    def test_varint_malformed(self) -> None:
        """A length of more than 64 bits or above the limit is refused at the byte that makes it so."""
        text = r"expected the varint length of a frame, got"
        for data, offset, reason in (
            (
                b"\x80" * 9 + b"\2",
                9,
                rf"b'{chr(92)}x80{(chr(92) + 'x80') * 8}{chr(92)}x02': a varint of more than 64 bits",
            ),
            (b"\x65x", 0, "b'ex': a length of 101, more than max_length 100"),
            (b"\xe5\1", 0, r"b'\xe5\x01': a length of at least 101, more than max_length 100"),
            (b"\x80\1", 1, r"b'\x80\x01': a length of 128, more than max_length 100"),
            (b"\x80\x81", 1, r"b'\x80\x81': a length of at least 128, more than max_length 100"),
        ):
            with self.subTest(data=data):
                self.assertMalformed(Varint(max_length=100), data, offset, f"{text} {reason}")

    def test_varint_encode_refuses(self) -> None:
        """A payload that is too long, or is no bytes, is refused."""
        with self.assertRaisesRegex(ValueError, r"4 bytes are too long for Varint\(max_length=3\)"):
            Varint(max_length=3).encode(b"abcd")
        with self.assertRaisesRegex(TypeError, "takes bytes, got None"):
            Varint().encode(None)  # type: ignore[arg-type]

    def test_varint_arguments_and_repr(self) -> None:
        """A limit is a number of bytes."""
        with self.assertRaisesRegex(TypeError, r"Varint\(max_length=...\) takes a number of bytes, got '1'"):
            Varint(max_length="1")  # type: ignore[arg-type]
        self.assertEqual(repr(Varint()), "Varint()")
