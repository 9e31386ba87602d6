"""Tests of framings of a known length, and of what all built-in framings have in common."""

from __future__ import annotations

import importlib.util
import random
import unittest
from typing import Any

from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.netstring import Netstring
from tcpclient_testing.engine.framing.sized import FixedLength, LengthPrefixed
from tcpclient_testing.engine.framing.varint import Varint
from tests.engine.feeding import FeedingTestCase, read

HYPOTHESIS = importlib.util.find_spec("hypothesis") is not None

ALL: list[Framing] = [
    LengthPrefixed(4),
    LengthPrefixed(1, max_length=40),
    LengthPrefixed(2, byteorder="little", includes_header=True),
    LengthPrefixed(8, includes_header=True),
    Netstring(),
    Varint(),
    Delimited(b"\n"),
    Delimited(b"\r\n\r\n"),
    FixedLength(20),
]


class FixedLengthTests(FeedingTestCase):
    """So many bytes."""

    def test_fixed_round_trip(self) -> None:
        """The payload is the frame, and none at all is one, too."""
        self.assertRoundTrip(FixedLength(5), b"Hello", b"Hello")
        self.assertRoundTrip(FixedLength(0), b"", b"")
        self.assertEqual(FixedLength(5).reader().length, 5)

    def test_fixed_unfinished(self) -> None:
        """The text gives the whole number."""
        self.assertEqual(self.assertReads(FixedLength(11), b"Hel"), ("unfinished", b"Hel", 8, "11 bytes", b""))
        self.assertEqual(self.assertReads(FixedLength(1), b""), ("unfinished", b"", 1, "1 byte", b""))

    def test_fixed_encode_refuses(self) -> None:
        """A payload of another length is refused."""
        with self.assertRaisesRegex(ValueError, r"a payload for FixedLength\(3\) has 3 bytes, got 2"):
            FixedLength(3).encode(b"ab")
        with self.assertRaisesRegex(TypeError, r"FixedLength.encode\(payload\) takes bytes"):
            FixedLength(3).encode("abc")  # type: ignore[arg-type]

    def test_fixed_arguments(self) -> None:
        """A length is a number of bytes."""
        with self.assertRaisesRegex(ValueError, r"FixedLength\(length\) must be 0 or more, got -1"):
            FixedLength(-1)
        with self.assertRaisesRegex(TypeError, r"FixedLength\(length\) takes a number of bytes, got b'abc'"):
            FixedLength(b"abc")  # type: ignore[arg-type]


class LengthPrefixedTests(FeedingTestCase):
    """A length, then so many bytes."""

    def test_prefixed_round_trip(self) -> None:
        """All sizes and byte orders, with and without the header counted."""
        self.assertRoundTrip(LengthPrefixed(4), b"Hello", b"\0\0\0\5Hello")
        self.assertRoundTrip(LengthPrefixed(), b"", b"\0\0\0\0")
        self.assertRoundTrip(LengthPrefixed(2, byteorder="little"), b"Hello", b"\5\0Hello")
        self.assertRoundTrip(LengthPrefixed(4, includes_header=True), b"Hello", b"\0\0\0\x09Hello")
        self.assertRoundTrip(LengthPrefixed(1, includes_header=True), b"", b"\1")
        self.assertRoundTrip(LengthPrefixed(8), b"a", b"\0\0\0\0\0\0\0\1a")

    def test_prefixed_unfinished(self) -> None:
        """What is awaited is the length, or the payload."""
        for data, outcome in (
            (b"", (b"", 4, "the 4-byte length of a frame", b"")),
            (b"\0\0", (b"", 2, "the 4-byte length of a frame", b"\0\0")),
            (b"\0\0\0\x0b", (b"", 11, "a frame of 11 bytes", b"")),
            (b"\0\0\0\x0bHel", (b"Hel", 8, "a frame of 11 bytes", b"")),
        ):
            self.assertEqual(self.assertReads(LengthPrefixed(4), data), ("unfinished", *outcome))

    def test_prefixed_malformed(self) -> None:
        """A length that can't be right is refused at the first byte that makes it so."""
        limit = "more than max_length"
        rows: list[tuple[LengthPrefixed, bytes, int, str]] = [
            (
                LengthPrefixed(4),
                b"GET / HTTP/1.1\r\n",
                0,
                (
                    rf"b'GET / HTTP/1.1\r\n': a length of at least 1191182336, {limit} "
                    "67108864"
                ),
            ),
            (
                LengthPrefixed(1, max_length=4),
                b"\5",
                0,
                rf"b'\x05': a length of 5, {limit} 4",
            ),
            (
                LengthPrefixed(2, byteorder="little", max_length=300),
                b"\xff\3",
                1,
                rf"b'\xff\x03': a length of 1023, {limit} 300",
            ),
            (
                LengthPrefixed(4, max_length=1000),
                b"\5\0\0\0Hello",
                0,
                (
                    rf"b'\x05\x00\x00\x00Hello': a length of at least 83886080, {limit} 1000; "
                    "5 in little-endian order"
                ),
            ),
            (
                LengthPrefixed(4, byteorder="little", max_length=1000),
                b"\0\0\0\5Hello",
                3,
                (
                    rf"b'\x00\x00\x00\x05Hello': a length of 83886080, {limit} 1000; "
                    "5 in big-endian order"
                ),
            ),
            (
                LengthPrefixed(2, includes_header=True),
                b"\0\1x",
                1,
                (
                    r"b'\x00\x01x': a length of 1, less than the 2 bytes of the header that "
                    "it includes; 254 in little-endian order"
                ),
            ),
        ]
        for framing, data, offset, text in rows:
            with self.subTest(framing=repr(framing), data=data):
                self.assertMalformed(
                    framing, data, offset, f"expected the {framing.size}-byte length of a frame, got {text}"
                )

    def test_prefixed_encode_refuses(self) -> None:
        """A payload that is too long for the limit, or for the field, is refused."""
        with self.assertRaisesRegex(ValueError, r"4 bytes are too long for LengthPrefixed\(4, max_length=3\)"):
            LengthPrefixed(4, max_length=3).encode(b"abcd")
        with self.assertRaisesRegex(ValueError, r"256 bytes are too long for LengthPrefixed\(1\)"):
            LengthPrefixed(1).encode(bytes(256))
        with self.assertRaisesRegex(ValueError, r"255 bytes are too long"):
            LengthPrefixed(1, includes_header=True).encode(bytes(255))
        with self.assertRaisesRegex(TypeError, r"LengthPrefixed.encode\(payload\) takes bytes, got the str 'a'"):
            LengthPrefixed(4).encode("a")  # type: ignore[arg-type]

    def test_prefixed_arguments(self) -> None:
        """Sizes, byte orders and limits are checked where they are written."""
        wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
            ({"size": 0}, ValueError, r"LengthPrefixed\(size\) must be 1 to 8, got 0"),
            ({"size": 9}, ValueError, r"LengthPrefixed\(size\) must be 1 to 8, got 9"),
            ({"size": "4"}, TypeError, r"LengthPrefixed\(size\) takes a number of bytes, got '4'"),
            ({"byteorder": "network"}, ValueError, r"\(byteorder=...\) must be 'big' or 'little', got 'network'"),
            ({"max_length": -1}, ValueError, r"LengthPrefixed\(max_length=...\) must be 0 or more, got -1"),
        ]
        for options, kind, text in wrong:
            with self.subTest(**options), self.assertRaisesRegex(kind, text):
                LengthPrefixed(**options)

    def test_prefixed_repr(self) -> None:
        """The repr is the call, without defaults."""
        self.assertEqual(repr(LengthPrefixed()), "LengthPrefixed(4)")
        self.assertEqual(
            repr(LengthPrefixed(2, byteorder="little", includes_header=True, max_length=9)),
            "LengthPrefixed(2, byteorder='little', includes_header=True, max_length=9)",
        )


class BuiltInFramingTests(FeedingTestCase):
    """What holds for each of them."""

    def test_messages_one_after_the_other(self) -> None:
        """A stream of frames gives the payloads back, however it is divided."""
        choices = random.Random(7)
        for framing in ALL:
            payloads = [bytes(choices.choices(b"abc\r", k=20)) for _ in range(5)]
            stream = b"".join(map(framing.encode, payloads))
            for step in (1, 2, 3, 7, 1000):
                with self.subTest(framing=repr(framing), step=step):
                    self.assertEqual(list(_payloads(framing, stream, step)), payloads)

    def test_payload_without_a_copy(self) -> None:
        """Payload is a view into what came, from each framing of a known length."""
        payload = bytes(1 << 20)
        for framing in (LengthPrefixed(4), Netstring(), Varint(), FixedLength(len(payload))):
            buffer = bytearray(framing.encode(payload))
            with self.assertAllocatesLess(4096, framing):
                part = framing.reader().feed(memoryview(buffer))
            assert isinstance(part.payload, memoryview)
            self.assertIs(part.payload.obj, buffer)
            self.assertTrue(part.complete)

    @unittest.skipUnless(HYPOTHESIS, "needs hypothesis")
    def test_any_bytes_in_any_pieces(self) -> None:
        """Whatever comes, the outcome doesn't depend on the pieces, and nothing but FramingError is raised."""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        piece = st.one_of(
            st.binary(max_size=6), st.lists(st.sampled_from(list(b"\0\0\1\2\x80\r\n01:,")), max_size=6).map(bytes)
        )

        @settings(max_examples=300, deadline=None)
        @given(st.sampled_from(ALL), st.lists(piece, max_size=8))
        def check(framing: Framing, pieces: list[bytes]) -> None:
            self.assertEqual(read(framing, pieces), read(framing, [b"".join(pieces)]))

        check()


def _payloads(framing: Framing, stream: bytes, step: int) -> Any:
    """The payloads of a stream that arrives `step` bytes at a time, as a conversation reads it."""
    reader, payload = framing.reader(), b""
    for start in range(0, len(stream), step):
        data = memoryview(stream)[start : start + step]
        while len(data):
            part = reader.feed(data)
            payload += bytes(part.payload)
            data = data[part.consumed :]
            if part.complete:
                yield payload
                reader, payload = framing.reader(), b""
