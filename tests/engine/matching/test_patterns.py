"""Tests of the matchers of whole messages, and of what may stand for one."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
import unittest
from typing import Any

from tcpclient_testing.engine.matching.base import Match, Matcher, apply_to_value
from tcpclient_testing.engine.matching.exact import Exactly, StartsWith
from tcpclient_testing.engine.matching.json_text import JSON
from tcpclient_testing.engine.matching.patterns import Predicate, Regex, anything, as_matcher
from tcpclient_testing.engine.matching.structure import Struct
from tcpclient_testing.engine.mismatches import CheckRaised, Mismatch, Unmatched
from tests.engine.feeding import FeedingTestCase, judged

HYPOTHESIS = importlib.util.find_spec("hypothesis") is not None


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
        self.assertDiffers(Regex(rb"GET \S+"), b"PUT /", Unmatched, r"expected Regex(rb'GET \S+'), got b'PUT /'")
        self.assertDiffers(
            Regex(rb"GET \S+"),
            b"GET /\r\n",
            Unmatched,
            r"expected Regex(rb'GET \S+'), got b'GET /\r\n'; it matches bytes 0 to 4 only, and must match all 7",
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
            (b"ab(", 0, ValueError, r"^Regex\(b'ab\('\) is no regular expression: missing \), .* at byte 2$"),
            (b"x" * 999 + b"[", 0, ValueError, r"x\[' \(the last .*\)\) is no regular expression: .* at byte 999$"),
            (b"x", re.UNICODE, ValueError, "cannot use UNICODE flag with a bytes pattern"),
            (None, 0, TypeError, r"Regex\(pattern\) takes bytes, got None"),
        ]
        for pattern, flags, kind, text in wrong:
            with self.subTest(pattern=pattern), self.assertRaisesRegex(kind, text):
                Regex(pattern, flags=flags)

    def test_regex_that_is_none_keeps_the_error_of_re(self) -> None:
        """What `re` raised is the cause."""
        with self.assertRaises(ValueError) as caught:
            Regex(b"(")
        self.assertIsInstance(caught.exception.__cause__, re.error)

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
            (Even(), "got Even(); derive Even from tcpclient_testing.matchers.Matcher"),
            (len, "got the function <built-in function len>; write Predicate(...)"),
        ]
        for value, text in wrong:
            with self.subTest(value=value), self.assertRaises(TypeError) as caught:
                as_matcher(value, "expect_line(line)")
            self.assertEqual(str(caught.exception), f"expect_line(line) takes bytes or a matcher, {text}")


class Even:
    """A matcher by its looks alone."""

    def __repr__(self) -> str:
        return "Even()"

    def match(self, message: bytes) -> object:
        """Not asked."""
        raise AssertionError(message)


class MatchersModuleTests(unittest.TestCase):
    """The door to all matchers."""

    def test_import_is_light(self) -> None:
        """What most tests don't need isn't loaded by the door."""
        code = (
            "import sys, tcpclient_testing.engine.matching.patterns, tcpclient_testing.engine.framing.sized; "
            "print([name for name in sys.modules if name.endswith(('_matcher', '.netstring', '.varint'))])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        self.assertEqual(done.stdout.strip(), "[]")


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
