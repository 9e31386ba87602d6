"""Tests of the matchers of plain bytes."""

from __future__ import annotations

import importlib.util
import unittest

from tcpclient_testing.engine.matching.base import KEPT, Match
from tcpclient_testing.engine.matching.exact import Exactly, StartsWith
from tcpclient_testing.engine.mismatches import BytesDiffer, LengthDiffers, Mismatch
from tests.engine.feeding import FeedingTestCase, divisions, judged

HYPOTHESIS = importlib.util.find_spec("hypothesis") is not None


class ExactlyTests(FeedingTestCase):
    """Plain bytes."""

    def test_exactly_the_bytes(self) -> None:
        """The result is the bytes."""
        for data in (b"", b"a", b"Hello, server!", bytes(range(256))):
            self.assertMatches(Exactly(data), data, data)

    def test_exactly_when_a_byte_differs(self) -> None:
        """The first byte that differs is named, with what has come."""
        self.assertDiffers(
            Exactly(b"Hello, server!"),
            b"Hello, sorver!",
            BytesDiffer,
            "expected b'Hello, server!', got b'Hello, sorver!' at byte 8",
            8,
        )
        self.assertDiffers(
            Exactly(b"Hello, server!"),
            b"Hello, so",
            BytesDiffer,
            "expected b'Hello, server!', got b'Hello, so' at byte 8",
            8,
        )

    def test_exactly_at_the_earliest_byte(self) -> None:
        """Fed byte by byte, the wrong byte is the last one that is needed."""
        judge = Exactly(b"abcdef").judge()
        self.assertEqual([judge.feed(b"a"), judge.feed(b"b")], [None, None])
        mismatch = judge.feed(b"x")
        assert mismatch is not None
        self.assertEqual(mismatch.summary, "expected b'abcdef', got b'abx' at byte 2")
        self.assertEqual((judge.received, judge.partial()), (3, b"abx"))

    def test_exactly_when_too_long(self) -> None:
        """A message that goes on is a mismatch at its first byte too many."""
        summary = "expected 3 bytes b'abc', got more (b'abcde'); too long from byte 3"
        self.assertDiffers(Exactly(b"abc"), b"abcde", LengthDiffers, summary, 3)
        summary = "expected 0 bytes b'', got more (b'a'); too long from byte 0"
        self.assertDiffers(Exactly(b""), b"a", LengthDiffers, summary, 0)

    def test_exactly_when_long_and_too_long(self) -> None:
        """Both sides are shown around the place where one of them should have ended."""
        mismatch = judged(Exactly(b"a" * 100), [b"a" * 100 + b"b"])
        self.assertEqual(
            mismatch.summary,
            f"expected 100 bytes ...b'{'a' * 12}', got more (...b'{'a' * 12}b'); too long from byte 100",
        )

    def test_exactly_when_too_short(self) -> None:
        """A message that ends is a mismatch that tells both lengths."""
        summary = "expected 11 bytes b'Hello world', got 3 (b'Hel')"
        self.assertDiffers(Exactly(b"Hello world"), b"Hel", LengthDiffers, summary, 3)

    def test_exactly_when_a_header_announces(self) -> None:
        """Another length is a mismatch before any payload; the right one isn't."""
        self.assertIsNone(Exactly(b"abc").judge().announce(3))
        verdict = judged(Exactly(b"abc"), [], announce=4)
        self.assertIsInstance(verdict, LengthDiffers)
        self.assertEqual(verdict.summary, "expected 3 bytes b'abc', got a header that announces 4")

    def test_exactly_without_a_copy(self) -> None:
        """16 MiB are compared in place, and a difference in them is found."""
        size = 16 << 20
        expected = bytes(size)
        received = memoryview(bytearray(size))
        matcher = Exactly(expected)
        self.assertIs(matcher.data, expected)
        with self.assertAllocatesLess(16 * 1024):
            judge = matcher.judge()
            self.assertIsNone(judge.feed(received[: size // 2]))
            self.assertIsNone(judge.feed(received[size // 2 :]))
            verdict = judge.finish()
        assert isinstance(verdict, Match)
        self.assertIs(verdict.result, expected)
        self.assertEqual(len(judge.partial()), KEPT)
        received[12_345_678] = 1
        mismatch = matcher.judge().feed(received)
        assert mismatch is not None
        self.assertEqual(mismatch.offset, 12_345_678)
        self.assertLess(len(mismatch.summary), 400)

    def test_exactly_repr(self) -> None:
        """The repr shows the bytes, if need be the first of them."""
        self.assertEqual(repr(Exactly(bytearray(b"abc"))), "Exactly(b'abc')")
        self.assertEqual(repr(Exactly(b"a" * 99)), f"Exactly(b'{'a' * 60}'... (the first 60 of 99 bytes))")


class StartsWithTests(FeedingTestCase):
    """Messages of which the beginning is known."""

    def test_starts_with_the_prefix(self) -> None:
        """The result is the whole message."""
        self.assertMatches(StartsWith(b"GET "), b"GET ", b"GET ")
        self.assertMatches(StartsWith(b"GET "), b"GET /path", b"GET /path")

    def test_starts_with_something_else(self) -> None:
        """A wrong byte is named; a message that ends within the prefix tells both lengths."""
        summary = "expected b'GET ' at the start, got b'GOT /path' at byte 1"
        self.assertDiffers(StartsWith(b"GET "), b"GOT /path", BytesDiffer, summary, 1)
        summary = "expected b'GET ' at the start, got b'PU' at byte 0"
        self.assertDiffers(StartsWith(b"GET "), b"PU", BytesDiffer, summary, 0)
        summary = "expected at least 4 bytes starting with b'GET ', got 2 (b'GE')"
        self.assertDiffers(StartsWith(b"GET "), b"GE", LengthDiffers, summary, 2)

    def test_starts_with_at_the_earliest_byte(self) -> None:
        """A wrong byte is a mismatch when it comes."""
        judge = StartsWith(b"GET ").judge()
        self.assertIsNone(judge.feed(b"G"))
        mismatch = judge.feed(b"O")
        assert mismatch is not None
        self.assertEqual(mismatch.summary, "expected b'GET ' at the start, got b'GO' at byte 1")

    def test_starts_with_when_a_header_announces(self) -> None:
        """A length with no room for the prefix is a mismatch."""
        self.assertIsNone(StartsWith(b"abc").judge().announce(3))
        verdict = judged(StartsWith(b"abc"), [], announce=2)
        self.assertEqual(
            verdict.summary, "expected at least 3 bytes starting with b'abc', got a header that announces 2"
        )

    def test_starts_with_nothing_is_refused(self) -> None:
        """An empty prefix says nothing."""
        with self.assertRaisesRegex(ValueError, r"StartsWith\(prefix\) needs a prefix"):
            StartsWith(b"")
        self.assertEqual(repr(StartsWith(b"a")), "StartsWith(b'a')")


@unittest.skipUnless(HYPOTHESIS, "needs hypothesis")
class ExactlyPropertyTests(unittest.TestCase):
    """The matcher agrees with ``==``."""

    def test_exactly_agrees_with_equality(self) -> None:
        """A message matches if and only if it is equal, and the offset is that of the first difference."""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        data = st.lists(st.sampled_from(list(b"ab")), max_size=6).map(bytes)

        @settings(max_examples=200, deadline=None)
        @given(data, data)
        def check(expected: bytes, message: bytes) -> None:
            equal = [a == b for a, b in zip(expected, message)]
            first = equal.index(False) if False in equal else len(equal)
            for pieces in divisions(message):
                verdict = judged(Exactly(expected), pieces)
                self.assertEqual(isinstance(verdict, Match), expected == message)
                if isinstance(verdict, Mismatch):
                    self.assertEqual(verdict.offset, first)

        check()
