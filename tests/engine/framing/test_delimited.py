"""Tests of messages that end with a delimiter."""

from __future__ import annotations

import importlib.util
import itertools
import random
import unittest
from typing import Any

from tcpclient_testing.engine.framing.delimited import Delimited
from tests.engine.feeding import FeedingTestCase, divisions, read
from tests.support.long import lasting

HYPOTHESIS = importlib.util.find_spec("hypothesis") is not None


def naive(framing: Delimited, data: bytes) -> tuple[Any, ...]:
    """What a reader must make of the data, seen whole: the model to which it is held."""
    delimiter, limit = framing.delimiter, framing.max_length
    place = data.find(delimiter)
    if 0 <= place <= limit:
        return "frame", data[:place], place + len(delimiter)
    held = next(
        size for size in range(len(delimiter) - 1, -1, -1) if data.endswith(delimiter[:size]) and size <= len(data)
    )
    if place > limit or len(data) - held > limit:
        return "malformed", data[:limit], limit
    payload, kept = data[: len(data) - held], data[len(data) - held :]
    return "unfinished", payload, len(delimiter) - held, framing.reader().waiting_for(), kept


class DelimitedTests(FeedingTestCase):
    """Lines, and their kin."""

    def test_delimited_round_trip(self) -> None:
        """Payloads of all kinds, also ones that look like a delimiter's beginning."""
        lines = Delimited(b"\r\n", label="a line")
        self.assertRoundTrip(lines, b"", b"\r\n")
        self.assertRoundTrip(lines, b"QUIT", b"QUIT\r\n")
        self.assertRoundTrip(lines, b"a\rb\nc\n\r", b"a\rb\nc\n\r\r\n")
        self.assertRoundTrip(Delimited(b"\0"), b"a\r\n", b"a\r\n\0")
        self.assertRoundTrip(Delimited(b"\r\n\r\n"), b"a\r\nb\r", b"a\r\nb\r\r\n\r\n")

    def test_delimited_unfinished(self) -> None:
        """A possible beginning of the delimiter is held back; the text names the delimiter."""
        lines = Delimited(b"\r\n", label="a line")
        outcome = self.assertReads(lines, b"QUI\r")
        self.assertEqual(outcome, ("unfinished", b"QUI", 1, r"a line ending in b'\r\n'", b"\r"))
        outcome = self.assertReads(Delimited(b"\r\n\r\n"), b"QUI\r\n\r")
        self.assertEqual(outcome, ("unfinished", b"QUI", 1, r"bytes up to b'\r\n\r\n'", b"\r\n\r"))

    def test_delimited_when_the_beginning_is_released(self) -> None:
        """Bytes held back for nothing become payload, whole or in part."""
        reader = Delimited(b"aab").reader()
        released = [bytes(reader.feed(memoryview(bytes((byte,)))).payload) for byte in b"xaaac"]
        self.assertEqual(released, [b"x", b"", b"", b"a", b"aac"])

    @lasting
    def test_delimited_of_every_small_case(self) -> None:
        """All streams of two letters, all delimiters of up to four, some limits: as the model says, however divided."""
        streams = [(data, list(divisions(data))) for data in map(bytes, itertools.product(b"ab", repeat=6))]
        for size in range(1, 5):
            for delimiter in map(bytes, itertools.product(b"ab", repeat=size)):
                for limit in (0, 2, 100):
                    framing = Delimited(delimiter, max_length=limit)
                    for data, divided in streams:
                        expected = naive(framing, data)
                        for pieces in divided:
                            if read(framing, pieces) != expected:
                                self.assertEqual(read(framing, pieces), expected, (delimiter, limit, pieces))

    def test_delimited_of_random_cases(self) -> None:
        """Longer streams in random pieces, from a fixed seed."""
        choices = random.Random(20)
        for _ in range(1000):
            delimiter = bytes(choices.choices(b"ab", k=choices.randint(1, 9)))
            framing = Delimited(delimiter, max_length=choices.choice((3, 20, 100)))
            data = bytes(choices.choices(b"aab", k=choices.randint(0, 40)))
            places = sorted(choices.choices(range(len(data) + 1), k=choices.randint(0, 6)))
            pieces = [data[start:stop] for start, stop in zip([0, *places], [*places, len(data)])]
            self.assertEqual(read(framing, pieces), naive(framing, data), (framing, pieces))

    @unittest.skipUnless(HYPOTHESIS, "needs hypothesis")
    def test_delimited_of_any_case(self) -> None:
        """Any stream in any pieces is read as the model says."""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        letters = st.sampled_from(list(b"abc"))

        @settings(max_examples=300, deadline=None)
        @given(
            st.lists(letters, min_size=1, max_size=6).map(bytes),
            st.integers(0, 30),
            st.lists(st.lists(letters, max_size=8).map(bytes), max_size=8),
        )
        def check(delimiter: bytes, limit: int, pieces: list[bytes]) -> None:
            framing = Delimited(delimiter, max_length=limit)
            self.assertEqual(read(framing, pieces), naive(framing, b"".join(pieces)))

        check()

    def test_delimited_without_an_end(self) -> None:
        """More than max_length bytes are refused at the first one too many; what came before is not lost."""
        framing = Delimited(b"\n", max_length=3, label="a line")
        text = r"expected a line ending in b'\n' after at most 3 bytes, got more without an end"
        self.assertMalformed(framing, b"abcdef\n", 3, text)
        self.assertEqual(self.assertReads(framing, b"abcd"), ("malformed", b"abc", 3))
        self.assertEqual(self.assertReads(framing, b"abc\n"), ("frame", b"abc", 4))
        self.assertEqual(read(Delimited(b"\n"), [b"x" * 65536])[0], "unfinished")
        self.assertEqual(read(Delimited(b"\n"), [b"x" * 65537])[0], "malformed")

    def test_delimited_without_a_copy(self) -> None:
        """A short line before much other data is a view, and the rest isn't touched."""
        buffer = bytearray(b"line\r\n" + b"x" * (8 << 20))
        framing = Delimited(b"\r\n")
        framing.reader()  # the search for this delimiter is compiled once
        with self.assertAllocatesLess(4096):
            part = framing.reader().feed(memoryview(buffer))
        assert isinstance(part.payload, memoryview)
        self.assertIs(part.payload.obj, buffer)
        self.assertEqual((bytes(part.payload), part.consumed), (b"line", 6))

    def test_delimited_encode_refuses(self) -> None:
        """A payload that would end before its end, or is too long, is refused."""
        with self.assertRaises(ValueError) as caught:
            Delimited(b"\r\n").encode(b"a\r\nb")
        self.assertEqual(
            str(caught.exception),
            r"a payload for Delimited(b'\r\n') is given without the b'\r\n' that ends it, got b'a\r\nb'; "
            "the delimiter is at byte 1",
        )
        with self.assertRaisesRegex(ValueError, "^a line is given without the b'.n' that ends it, got b'a.n'; "):
            Delimited(b"\n", label="a line").encode(b"a\n")
        with self.assertRaisesRegex(ValueError, "the delimiter is at byte 1"):
            Delimited(b"\r\n\r\n").encode(b"a\r\n")
        with self.assertRaisesRegex(ValueError, "4 bytes are too long for"):
            Delimited(b"\n", max_length=3).encode(b"abcd")
        with self.assertRaisesRegex(TypeError, r"Delimited.encode\(payload\) takes bytes, got the str 'a'"):
            Delimited(b"\n").encode("a")  # type: ignore[arg-type]

    def test_delimited_arguments_and_repr(self) -> None:
        """A delimiter has at least one byte."""
        with self.assertRaisesRegex(TypeError, r"Delimited\(delimiter\) takes bytes, got the str '\\n'; write b'\\n'"):
            Delimited("\n")  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, r"Delimited\(delimiter\) needs at least one byte"):
            Delimited(b"")
        with self.assertRaisesRegex(ValueError, r"Delimited\(max_length=...\) must be 0 or more, got -1"):
            Delimited(b"\n", max_length=-1)
        self.assertEqual(repr(Delimited(b"\n")), r"Delimited(b'\n')")
        self.assertEqual(
            repr(Delimited(b"\n", max_length=3, label="a line")), r"Delimited(b'\n', max_length=3, label='a line')"
        )
