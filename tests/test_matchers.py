"""Tests of the public module of matchers."""

from __future__ import annotations

import unittest
from typing import Union

from tcpclient_testing import matchers
from tcpclient_testing.matchers import JSON, Match, Matcher, Mismatch


class Even(Matcher[int]):
    """The example of the module's docstring."""

    def match(self, message: bytes) -> Union[Match[int], Mismatch]:
        number = int(message)
        if number % 2:
            return Mismatch(f"expected an even number, got {number}")
        return Match(number)


class MatchersModuleTests(unittest.TestCase):
    """The module gives what a script, and a matcher of one's own, need."""

    def test_public_names(self) -> None:
        """All that is promised is there."""
        for name in matchers.__all__:
            self.assertTrue(hasattr(matchers, name), name)

    def test_matcher_of_ones_own(self) -> None:
        """It works by itself and inside JSON."""
        verdict = Even().match(b"12")
        assert isinstance(verdict, Match)
        self.assertEqual(verdict.result, 12)
        inside = JSON({"n": Even()}).match(b'{"n": "13"}')
        assert isinstance(inside, Mismatch)
        self.assertEqual(inside.summary, "at $.n: expected an even number, got 13")
