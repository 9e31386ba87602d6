"""Tests of the matchers of whole messages, and of what may stand for one."""

from __future__ import annotations

import functools
import importlib.util
import re
import tracemalloc
import unittest
from typing import Any

from tcpclient_testing.engine.judging import KEPT, Match, apply_to_value
from tcpclient_testing.engine.matchers import (
    JSON,
    Exactly,
    Matcher,
    Predicate,
    Regex,
    StartsWith,
    Struct,
    anything,
    as_matcher,
)
from tcpclient_testing.engine.mismatches import BytesDiffer, CheckRaised, LengthDiffers, Mismatch, Unmatched

from .feeding import FeedingTestCase, divisions, judged

HYPOTHESIS = importlib.util.find_spec("hypothesis") is not None


class ExactlyTests(FeedingTestCase):
    """Plain bytes."""

    def test_exactly_the_bytes(self) -> None:
        """The result is the bytes."""
        for data in (b"", b"a", b"Hello, server!", bytes(range(256))):
            self.assertMatches(Exactly(data), data, data)

    def test_exactly_when_a_byte_differs(self) -> None:
        """The first byte that differs is named, with what came so far."""
        self.assertDiffers(
            Exactly(b"Hello, server!"),
            b"Hello, sorver!",
            BytesDiffer,
            "expected b'Hello, server!', got b'Hello, sorver!'; first difference at byte 8",
            8,
        )
        self.assertDiffers(
            Exactly(b"Hello, server!"),
            b"Hello, so",
            BytesDiffer,
            "expected b'Hello, server!', got b'Hello, so' so far; first difference at byte 8",
            8,
        )

    def test_exactly_at_the_earliest_byte(self) -> None:
        """Fed byte by byte, the wrong byte is the last one that is needed."""
        judge = Exactly(b"abcdef").judge()
        self.assertEqual([judge.feed(b"a"), judge.feed(b"b")], [None, None])
        mismatch = judge.feed(b"x")
        assert mismatch is not None
        self.assertEqual(mismatch.summary, "expected b'abcdef', got b'abx' so far; first difference at byte 2")
        self.assertEqual((judge.received, judge.partial()), (3, b"abx"))

    def test_exactly_when_too_long(self) -> None:
        """A message that goes on is a mismatch at its first byte too many."""
        summary = "expected 3 bytes b'abc', got more (b'abcde'); too long from byte 3"
        self.assertDiffers(Exactly(b"abc"), b"abcde", LengthDiffers, summary, 3)
        summary = "expected 0 bytes b'', got more (b'a'); too long from byte 0"
        self.assertDiffers(Exactly(b""), b"a", LengthDiffers, summary, 0)

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
        tracemalloc.start()
        try:
            judge = matcher.judge()
            self.assertIsNone(judge.feed(received[: size // 2]))
            self.assertIsNone(judge.feed(received[size // 2 :]))
            verdict = judge.finish()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert isinstance(verdict, Match)
        self.assertIs(verdict.result, expected)
        self.assertLess(peak, 16 * 1024)
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
        summary = "expected b'GET ' at the start, got b'GOT /path'; first difference at byte 1"
        self.assertDiffers(StartsWith(b"GET "), b"GOT /path", BytesDiffer, summary, 1)
        summary = "expected b'GET ' at the start, got b'PU' so far; first difference at byte 0"
        self.assertDiffers(StartsWith(b"GET "), b"PU", BytesDiffer, summary, 0)
        summary = "expected at least 4 bytes starting with b'GET ', got 2 (b'GE')"
        self.assertDiffers(StartsWith(b"GET "), b"GE", LengthDiffers, summary, 2)

    def test_starts_with_at_the_earliest_byte(self) -> None:
        """A wrong byte is a mismatch when it comes."""
        judge = StartsWith(b"GET ").judge()
        self.assertIsNone(judge.feed(b"G"))
        mismatch = judge.feed(b"O")
        assert mismatch is not None
        self.assertEqual(
            mismatch.summary, "expected b'GET ' at the start, got b'GO' so far; first difference at byte 1"
        )

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


class AnythingTests(FeedingTestCase):
    """Every message."""

    def test_anything(self) -> None:
        """The result is the message, or the value."""
        for message in (b"", b"abc"):
            self.assertMatches(anything, message, message)
        self.assertEqual(anything.match_value(None).result, None)
        self.assertIsNone(anything.judge().announce(10**9))
        self.assertEqual(repr(anything), "anything")


class RegexTests(FeedingTestCase):
    """Regular expressions."""

    def test_regex_of_the_whole_message(self) -> None:
        """The result is the match, with its groups."""
        verdict = self.assertJudged(Regex(rb"GET (?P<path>\S+)\r\n"), b"GET /a/b\r\n")
        self.assertEqual(verdict.result["path"], b"/a/b")
        self.assertMatches(Regex(b"get", flags=re.IGNORECASE), b"GET", re.fullmatch(b"(?i)get", b"GET"))
        self.assertMatches(Regex(re.compile(b"get", re.IGNORECASE)), b"GET", re.fullmatch(b"(?i)get", b"GET"))

    def test_regex_that_does_not_match(self) -> None:
        """What does match, if anything, is told: most often a pattern lacks its ending."""
        self.assertDiffers(Regex(rb"GET \S+"), b"PUT /", Unmatched, r"expected Regex(b'GET \\S+'), got b'PUT /'")
        self.assertDiffers(
            Regex(rb"GET \S+"),
            b"GET /\r\n",
            Unmatched,
            r"expected Regex(b'GET \\S+'), got b'GET /\r\n'; it matches bytes 0 to 4 only, and must match all 7",
        )

    def test_regex_in_json(self) -> None:
        """Values that are strings are matched in UTF-8."""
        self.assertIsInstance(apply_to_value(Regex("(?:é)+".encode()), "éé"), Match)
        self.assertIsInstance(apply_to_value(Regex(b".*"), 3), Mismatch)

    def test_regex_arguments_that_are_wrong(self) -> None:
        """Patterns of str, and what isn't a pattern, are refused where they are written."""
        wrong: list[tuple[Any, int, type[Exception], str]] = [
            ("abc", 0, TypeError, r"Regex\(pattern\) takes bytes, got the str 'abc'; write b'abc'"),
            (re.compile("abc"), 0, TypeError, r"takes a pattern of bytes, got re.compile\('abc'\); compile a b'...'"),
            (re.compile(b"abc"), re.IGNORECASE, ValueError, "no flags beside a compiled pattern"),
            (b"(", 0, re.error, "unterminated"),
            (None, 0, TypeError, r"Regex\(pattern\) takes bytes, got None"),
        ]
        for pattern, flags, kind, text in wrong:
            with self.subTest(pattern=pattern), self.assertRaisesRegex(kind, text):
                Regex(pattern, flags=flags)

    def test_regex_repr(self) -> None:
        """The repr has the flags, if there are any."""
        self.assertEqual(repr(Regex(b"a+")), "Regex(b'a+')")
        self.assertEqual(repr(Regex(b"a+", flags=re.IGNORECASE)), "Regex(b'a+', flags=re.IGNORECASE)")
        self.assertEqual(repr(Regex(re.compile(b"a+", re.DOTALL))), "Regex(b'a+', flags=re.DOTALL)")


class PredicateTests(FeedingTestCase):
    """Functions."""

    def test_predicate_that_is_true(self) -> None:
        """Whatever is true will do; the result is the message."""
        self.assertMatches(Predicate(len), b"abc", b"abc")
        self.assertMatches(Predicate(lambda message: message == b""), b"", b"")

    def test_predicate_that_is_false(self) -> None:
        """What the function returned is told: None often means a forgotten return."""
        self.assertDiffers(
            Predicate(lambda message: None),
            b"abc",
            Unmatched,
            "expected Predicate(<lambda>), got b'abc'; the function returned None",
        )

    def test_predicate_that_raises(self) -> None:
        """The exception is named, and kept."""
        mismatch = self.assertDiffers(
            Predicate(lambda message: {}[len(message)]),
            b"",
            CheckRaised,
            "expected Predicate(<lambda>), got b''; the check raised KeyError: 0",
        )
        assert isinstance(mismatch, CheckRaised)
        self.assertIsInstance(mismatch.exception, KeyError)

    def test_predicate_whose_truth_raises(self) -> None:
        """A value that refuses to be true or false is a mismatch, too."""

        class Array:
            def __bool__(self) -> bool:
                raise ValueError("ambiguous")

        verdict = Predicate(lambda message: Array()).match(b"")
        assert isinstance(verdict, CheckRaised)
        self.assertTrue(verdict.summary.endswith("the check raised ValueError: ambiguous"))

    def test_predicate_that_is_a_coroutine_function(self) -> None:
        """Nobody would await it, and a coroutine is always true: refused when written, or found out when called."""

        async def check(message: bytes) -> bool:
            return False

        with self.assertRaisesRegex(TypeError, "takes an ordinary function, got the coroutine function"):
            Predicate(check)
        verdict = Predicate(functools.partial(check)).match(b"")
        assert isinstance(verdict, CheckRaised)
        self.assertIn("returned a coroutine, which a predicate doesn't await", verdict.summary)

    def test_predicate_arguments_and_repr(self) -> None:
        """A function is needed; its name, or a description, stands for it."""
        with self.assertRaisesRegex(TypeError, r"Predicate\(function\) takes something to call, got b'abc'"):
            Predicate(b"abc")  # type: ignore[arg-type]
        self.assertEqual(repr(Predicate(len)), "Predicate(len)")
        self.assertEqual(repr(Predicate(len, description="not empty")), "Predicate('not empty')")
        self.assertEqual(
            repr(Predicate(functools.partial(int, base=2))), "Predicate(functools.partial(<class 'int'>, base=2))"
        )


class AsMatcherTests(unittest.TestCase):
    """What may stand for a message."""

    def test_as_matcher_of_bytes_and_matchers(self) -> None:
        """Bytes are matched exactly, a matcher is itself."""
        for value in (b"abc", bytearray(b"abc"), memoryview(b"abc")):
            matcher = as_matcher(value, "expect_line(line)")
            self.assertIsInstance(matcher, Exactly)
            self.assertEqual(matcher.data, b"abc")
        self.assertIs(as_matcher(anything, "expect_line(line)"), anything)

    def test_as_matcher_of_other_things(self) -> None:
        """TypeError says where, and what to write."""
        wrong: list[tuple[Any, str]] = [
            ("abc", "got the str 'abc'; write b'abc'"),
            ("é", "got the str 'é'; write b\"...\", or encode it"),
            (None, "got None"),
            (5, "got 5"),
            (re.compile(b"a"), "got a compiled pattern; write Regex(re.compile(b'a'))"),
            (Regex, "got the class Regex; write Regex(...)"),
            (len, "got the function <built-in function len>; write Predicate(...)"),
        ]
        for value, text in wrong:
            with self.subTest(value=value), self.assertRaises(TypeError) as caught:
                as_matcher(value, "expect_line(line)")
            self.assertEqual(str(caught.exception), f"expect_line(line) takes bytes or a matcher, {text}")


@unittest.skipUnless(HYPOTHESIS, "needs hypothesis")
class MatcherPropertyTests(FeedingTestCase):
    """The verdict is a function of the bytes, not of their division."""

    def test_any_division_of_any_message(self) -> None:
        """Random pieces of random messages give the verdict of the whole, for each matcher."""
        from hypothesis import given, settings
        from hypothesis import strategies as st

        matchers: list[Matcher[Any]] = [
            Exactly(b"abba"),
            StartsWith(b"ab"),
            Regex(b"a+b*"),
            Predicate(lambda message: message.count(b"a") > 1),
            Struct(">H2s", 0x6162, b"ba"),
            Struct("<bH", anything, 0x6161),
            JSON(),
            anything,
        ]
        piece = st.lists(st.sampled_from(list(b"ab")), max_size=4).map(bytes)

        @settings(max_examples=200, deadline=None)
        @given(st.sampled_from(matchers), st.lists(piece, max_size=5))
        def check(matcher: Matcher[Any], pieces: list[bytes]) -> None:
            message = b"".join(pieces)
            whole, divided = judged(matcher, [message]), judged(matcher, pieces)
            self.assertEqual(isinstance(whole, Match), isinstance(divided, Match))
            if isinstance(whole, Mismatch):
                self.assertEqual((type(whole), whole.offset), (type(divided), divided.offset))

        check()

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
