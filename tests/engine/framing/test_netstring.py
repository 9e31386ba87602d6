"""Tests of netstrings."""

from __future__ import annotations

from tcpclient_testing.engine.framing.netstring import Netstring
from tests.engine.feeding import FeedingTestCase


class NetstringTests(FeedingTestCase):
    """``length:payload,``."""

    def test_netstring_round_trip(self) -> None:
        """Frames of the definition's own examples."""
        self.assertRoundTrip(Netstring(), b"hello world!", b"12:hello world!,")
        self.assertRoundTrip(Netstring(), b"", b"0:,")
        self.assertRoundTrip(Netstring(max_length=3), b",,,", b"3:,,,,")

    def test_netstring_unfinished(self) -> None:
        """What is awaited is the length, the payload, or the comma."""
        for data, outcome in (
            (b"", (b"", 1, "the length of a netstring", b"")),
            (b"12", (b"", 1, "the length of a netstring", b"12")),
            (b"12:", (b"", 13, "a netstring of 12 bytes", b"")),
            (b"12:hello", (b"hello", 8, "a netstring of 12 bytes", b"")),
            (b"1:x", (b"x", 1, "b',' after a netstring of 1 byte", b"")),
        ):
            self.assertEqual(self.assertReads(Netstring(), data), ("unfinished", *outcome))

    def test_netstring_malformed(self) -> None:
        """Each malformed byte is refused when it comes, and told."""
        for data, offset, text in (
            (b"x:", 0, "expected the length of a netstring, got b'x:': it doesn't begin with a digit"),
            (b":", 0, "expected the length of a netstring, got b':': it doesn't begin with a digit"),
            (b"-1:", 0, "expected the length of a netstring, got b'-1:': it doesn't begin with a digit"),
            (b"1 :", 1, "expected the length of a netstring, got b'1 :': b' ' is no digit and no b':'"),
            (b"01:a,", 1, "expected the length of a netstring, got b'01:a,': a leading zero"),
            (
                b"1000:",
                2,
                "expected the length of a netstring, got b'1000:': a length of at least 100, more than max_length 99",
            ),
            (b"3:abcd", 5, "expected b',' after a netstring of 3 bytes, got b'd'"),
            (b"0:x", 2, "expected b',' after a netstring of 0 bytes, got b'x'"),
        ):
            with self.subTest(data=data):
                self.assertMalformed(Netstring(max_length=99), data, offset, text)

    def test_netstring_malformed_after_payload(self) -> None:
        """The payload before a missing comma is not lost: it may differ earlier."""
        self.assertEqual(self.assertReads(Netstring(), b"3:abcd"), ("malformed", b"abc", 5))

    def test_netstring_encode_refuses(self) -> None:
        """A payload that is too long, or is no bytes, is refused."""
        with self.assertRaisesRegex(ValueError, r"4 bytes are too long for Netstring\(max_length=3\)"):
            Netstring(max_length=3).encode(b"abcd")
        with self.assertRaisesRegex(TypeError, r"takes bytes, got the str 'a'; write b'a'"):
            Netstring().encode("a")  # type: ignore[arg-type]

    def test_netstring_arguments_and_repr(self) -> None:
        """A limit is a number of bytes."""
        with self.assertRaisesRegex(ValueError, r"Netstring\(max_length=...\) must be 0 or more, got -1"):
            Netstring(max_length=-1)
        self.assertEqual(repr(Netstring()), "Netstring()")
