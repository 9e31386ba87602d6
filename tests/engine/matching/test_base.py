"""Tests of the base classes of matchers."""

from __future__ import annotations

from typing import Any, Union

from tcpclient_testing.engine.matching.base import KEPT, GatheringJudge, Judge, Match, Matcher, apply, apply_to_value
from tcpclient_testing.engine.mismatches import CheckRaised, Mismatch, Unmatched
from tests.engine.feeding import FeedingTestCase, judged


class Even(Matcher[int]):
    """A matcher as users write them."""

    def __repr__(self) -> str:
        return "Even()"

    def match(self, message: bytes) -> Union[Match[int], Mismatch]:
        number = int(message)
        return Match(number) if number % 2 == 0 else Mismatch(f"expected an even number, got {number}")


class Forgetful(Matcher[Any]):
    """A matcher whose author forgot to return."""

    def __repr__(self) -> str:
        return "Forgetful()"

    def match(self, message: bytes) -> Any:
        return None


class MatcherTests(FeedingTestCase):
    """A user's own matcher needs only `match`."""

    def test_match_of_a_users_matcher(self) -> None:
        """However the message is divided, `match` sees all of it."""
        self.assertMatches(Even(), b"1234", 1234)
        self.assertDiffers(Even(), b"12345", Mismatch, "expected an even number, got 12345")

    def test_match_that_raises(self) -> None:
        """An exception is a mismatch that keeps it."""
        verdict = judged(Even(), [b"x"])
        self.assertIsInstance(verdict, CheckRaised)
        self.assertEqual(
            verdict.summary,
            "expected Even(), got b'x'; the check raised ValueError: invalid literal for int() with base 10: b'x'",
        )
        self.assertIsInstance(verdict.exception, ValueError)
        self.assertIsInstance(apply_to_value(Even(), "x"), CheckRaised)

    def test_match_that_returns_nothing(self) -> None:
        """A forgotten return is a mismatch that says so, and not a match."""
        verdict = apply(Forgetful(), b"x")
        self.assertIsInstance(verdict, Unmatched)
        assert isinstance(verdict, Mismatch)
        self.assertEqual(
            verdict.summary,
            "expected Forgetful(), got b'x'; its match returned None, neither a Match nor a Mismatch",
        )

    def test_match_that_is_missing(self) -> None:
        """A matcher without `match` is told to have one."""
        with self.assertRaisesRegex(NotImplementedError, r"Matcher must implement match\(message\)"):
            Matcher[int]().match(b"")

    def test_match_value_of_text(self) -> None:
        """Inside a message, str and bytes are given to `match`, and nothing else matches."""
        for value, expected in (("12", Match), (b"12", Match), ("1", Mismatch), (12, Mismatch), (None, Mismatch)):
            self.assertIsInstance(apply_to_value(Even(), value), expected, value)
        verdict = apply_to_value(Even(), 12)
        assert isinstance(verdict, Mismatch)
        self.assertEqual(verdict.summary, "expected text for Even(), got 12")

    def test_match_repr(self) -> None:
        """A match shows its result."""
        self.assertEqual(repr(Match(b"abc")), "Match(b'abc')")


class JudgeTests(FeedingTestCase):
    """The judge that gathers."""

    def test_judge_keeps_copies(self) -> None:
        """What has come is kept, though the buffer is used again."""
        judge: Judge[Any] = GatheringJudge(Even())
        self.assertIsNone(judge.announce(10))
        for piece in (b"12", b"", b"34"):
            buffer = bytearray(piece)
            self.assertIsNone(judge.feed(memoryview(buffer)))
            buffer[:] = b"x" * len(buffer)
        self.assertEqual((judge.received, judge.partial()), (4, b"1234"))

    def test_partial_is_bounded(self) -> None:
        """Of much data, only the end is reported."""
        judge: Judge[Any] = GatheringJudge(Even())
        judge.feed(b"x" * KEPT)
        judge.feed(b"y")
        self.assertEqual(judge.partial(), b"x" * (KEPT - 1) + b"y")

    def test_judge_is_abstract(self) -> None:
        """A judge of one's own has to implement all but `announce`."""
        judge: Judge[Any] = Judge()
        self.assertIsNone(judge.announce(3))
        for call in (lambda: judge.feed(b""), judge.finish, judge.partial):
            with self.assertRaises(NotImplementedError):
                call()
