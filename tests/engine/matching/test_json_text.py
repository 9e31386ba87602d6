"""Tests of the matcher for JSON texts."""

from __future__ import annotations

import math
import sys
from typing import Any

from tcpclient_testing.engine.matching.base import Match, Matcher
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.json_text import JSON
from tcpclient_testing.engine.matching.patterns import Predicate, Regex, anything
from tcpclient_testing.engine.mismatches import NotJSON, ValueDiffers
from tests.engine.feeding import FeedingTestCase, judged


class JSONTests(FeedingTestCase):
    """Parts of values, and where they differ."""

    def test_json_that_matches(self) -> None:
        """Only the expected keys count, at every depth; the result is the parsed value."""
        rows: list[tuple[Any, bytes, Any]] = [
            (..., b" 1 ", 1),
            ({}, b'{"a": 1}', {"a": 1}),
            ({"id": 1}, b'{"id": 1, "x": [null]}', {"id": 1, "x": [None]}),
            ({"a": {"b": [{"c": 1}]}}, b'{"a": {"b": [{"c": 1, "d": 2}]}}', {"a": {"b": [{"c": 1, "d": 2}]}}),
            ((1, 2), b"[1, 2]", [1, 2]),
            (1, b"1.0", 1.0),
            ("é", '"é"'.encode(), "é"),
            ("\ud800", rb'"\ud800"', "\ud800"),
            (None, b"null", None),
            (True, b"true", True),
            ({"a": 2}, b'{"a": 1, "a": 2}', {"a": 2}),
            ({"a": ..., "b": anything}, b'{"a": 1, "b": null}', {"a": 1, "b": None}),
        ]
        for expected, message, result in rows:
            with self.subTest(expected=expected):
                self.assertMatches(JSON(expected), message, result)

    def test_constants_that_json_has_not(self) -> None:
        """NaN and Infinity are refused where they stand, and as an expected value; words in strings are strings."""
        for message, word, offset in ((b'{"a": NaN}', "NaN", 6),
                                      (b'{"NaN": "\\"NaN", "b": [-Infinity]}', "-Infinity", 23),
                                      ('{"é": Infinity}'.encode(), "Infinity", 7),
                                      (b"[" + b"1" * 10_000 + b", NaN]", "NaN", 10_003)):
            with self.subTest(message=message[:40]):
                verdict = judged(JSON(), [message])
                assert isinstance(verdict, NotJSON)
                self.assertIn(f"which isn't JSON: JSON has no {word} (RFC 8259, section 6) at byte {offset}",
                              verdict.summary)
                self.assertEqual(verdict.offset, offset)
        for value in (math.nan, math.inf, -math.inf):
            with self.assertRaisesRegex(ValueError, r"JSON\(expected\) has .* at \$\.a\[0\], which JSON can't hold"):
                JSON({"a": [value]})

    def test_integers_of_many_digits(self) -> None:
        """They are read exactly, whatever int() is allowed to, and reports can do without their digits."""
        for digits in (640, 4300, 10_000, 50_001):
            with self.subTest(digits=digits):
                number = 10 ** digits - 1
                verdict = judged(JSON({"a": number}), [b'{"a": %s}' % (b"9" * digits)])
                assert isinstance(verdict, Match)
                self.assertEqual(verdict.result, {"a": number})
                self.assertIsInstance(judged(JSON(-number), [b"-" + b"9" * digits]), Match)
        self.assertIsInstance(judged(JSON([1]), [b"[" + b"9" * 10_000 + b"]"]), ValueDiffers)
        verdict = judged(JSON({"a": 10 ** 10_000}), [b'{"a": 1}'])
        assert isinstance(verdict, ValueDiffers)
        if hasattr(sys, "set_int_max_str_digits"):
            self.assertEqual(verdict.summary, "at $.a: expected <int of 33220 bits>, got 1")
            self.assertEqual(repr(JSON(10 ** 10_000)), "JSON(<int of 33220 bits>)")
            self.assertIn("repr raises ValueError", repr(JSON([10 ** 10_000])))

    def test_json_with_matchers(self) -> None:
        """Matchers of bytes see strings, a predicate sees the value, a nested JSON has its own strictness."""
        matcher = JSON(
            {
                "id": Predicate(lambda value: isinstance(value, int)),
                "name": Regex(b"[a-z]+"),
                "path": StartsWith(b"/"),
                "options": JSON({"x": 1}, exact=True),
            }
        )
        value = {"id": 7, "name": "bob", "path": "/tmp", "options": {"x": 1}}
        self.assertMatches(matcher, b'{"id": 7, "name": "bob", "path": "/tmp", "options": {"x": 1}}', value)

    def test_json_that_differs(self) -> None:
        """The path and both values are told."""
        rows: list[tuple[Matcher[Any], bytes, str]] = [
            (JSON({"params": {"id": 7}}), b'{"params": {"id": 8}}', "at $.params.id: expected 7, got 8"),
            (JSON({"id": 7}), b'{"id": "7"}', "at $.id: expected 7, got '7'"),
            (JSON({"id": 7}), b'{"name": 1}', "at $.id: expected 7, got no such key in {'name': 1}"),
            (JSON({"id": ...}), b"{}", "at $.id: expected a value, got no such key in {}"),
            (JSON({"odd key": 7}), b'{"odd key": 8}', "at $['odd key']: expected 7, got 8"),
            (JSON({"id": 7}), b"[7]", "at $: expected {'id': 7}, got [7]"),
            (JSON([1, [2]]), b"[1, [3]]", "at $[1][0]: expected 2, got 3"),
            (JSON([1, 2]), b"[1]", "at $[1]: expected 2, got only 1 of 2 elements"),
            (JSON([1]), b"[1, 2, 3]", "at $[1]: expected only 1 element, got 2"),
            (JSON([]), b"[1]", "at $[0]: expected only 0 elements, got 1"),
            (JSON(1), b"true", "at $: expected 1, got True"),
            (JSON(False), b"0", "at $: expected False, got 0"),
            (JSON(None), b"0", "at $: expected None, got 0"),
            (JSON({}, exact=True), b'{"x": 1}', "at $.x: unexpected key, with the value 1"),
            (JSON([{}], exact=True), b'[{"x": 1}]', "at $[0].x: unexpected key, with the value 1"),
            (JSON({"a": Regex(b"x+")}), b'{"a": "y"}', "at $.a: expected Regex(b'x+'), got b'y'"),
            (JSON({"a": Regex(b"x+")}), b'{"a": 1}', "at $.a: expected text for Regex(b'x+'), got 1"),
            (
                JSON({"a": Predicate(bool, description="true")}),
                b'{"a": 0}',
                "at $.a: expected Predicate('true'), got 0; the function returned False",
            ),
            (JSON({"a": JSON({"b": 1})}), b'{"a": {"b": 2}}', "at $.a.b: expected 1, got 2"),
            (
                JSON({"a": 1, "b": 2}),
                b'{"b": 3, "a": 2}',
                "at $.a: expected 1, got 2 (and 1 other difference)",
            ),
        ]
        for matcher, message, summary in rows:
            with self.subTest(summary=summary):
                self.assertDiffers(matcher, message, ValueDiffers, summary)

    def test_json_that_differs_in_long_text(self) -> None:
        """Long strings are shortened around the difference."""
        mismatch = judged(JSON(["a" * 200 + "b"]), [b'["' + b"a" * 200 + b'c"]'])
        self.assertEqual(mismatch.summary, f"at $[0]: expected ...'{'a' * 12}b', got ...'{'a' * 12}c'")

    def test_json_that_differs_in_several_places(self) -> None:
        """All differences are in the details, in the order of what is expected."""
        mismatch = judged(JSON({"a": 1, "b": {"c": 2}, "d": 3}), [b'{"d": 4, "b": {}, "a": 1}'])
        self.assertEqual(mismatch.details, (
            "at $.b.c: expected 2, got no such key in {}", "at $.d: expected 3, got 4",
            "keys that aren't expected don't matter: JSON(...) matches a subset, JSON(..., exact=True) the whole"))
        self.assertEqual(mismatch.path, "$.b.c")

    def test_json_that_is_none(self) -> None:
        """What isn't JSON is shown around the byte where it ceases to be."""
        rows: list[tuple[bytes, str, int]] = [
            (b"", "got b'', which isn't JSON: expecting value at byte 0", 0),
            (b'{"id": }', "got b'{\"id\": }', which isn't JSON: expecting value at byte 7", 7),
            (b"[1] x", "got b'[1] x', which isn't JSON: extra data at byte 4", 4),
            (
                '["é" 1]'.encode(),
                r"""got b'["\xc3\xa9" 1]', which isn't JSON: expecting ',' delimiter at byte 6""",
                6,
            ),
            (
                b'"\xff"',
                r"""got b'"\xff"', which isn't JSON: b'\xff' isn't UTF-8 (RFC 8259, section 8.1), at byte 1""",
                1,
            ),
        ]
        for message, text, offset in rows:
            self.assertDiffers(JSON(), message, NotJSON, f"expected JSON(), {text}", offset)

    def test_json_that_is_hostile(self) -> None:
        """Text that the parser gives up on is a mismatch, whatever it raises."""
        verdict = judged(JSON({"id": 1}), [b"[" * 100_000])
        self.assertIsInstance(verdict, NotJSON)
        self.assertIn("which isn't JSON: RecursionError", verdict.summary)
        self.assertNotIsInstance(judged(JSON({"id": 1}), [b"9" * 10_000]), Match)

    def test_json_arguments_that_are_wrong(self) -> None:
        """What JSON can't hold is refused where it is written, by its path."""
        wrong: list[tuple[Any, str]] = [
            ({"a": [b"x"]}, r"JSON\(expected\) has b'x' at \$.a\[0\], which JSON can't hold; strings of JSON are str"),
            ({"a": {1: 2}}, r"JSON\(expected\) has the key 1 at \$.a; keys of JSON are str"),
            ({"a": {1, 2}}, r"JSON\(expected\) has {1, 2} at \$.a, which JSON can't hold$"),
        ]
        for expected, text in wrong:
            with self.subTest(expected=expected), self.assertRaisesRegex(TypeError, text):
                JSON(expected)

    def test_json_copies_what_is_expected(self) -> None:
        """A value that changes later doesn't change the script."""
        expected: dict[str, Any] = {"a": [1]}
        matcher = JSON(expected)
        expected["a"].append(2)
        self.assertMatches(matcher, b'{"a": [1]}', {"a": [1]})

    def test_json_repr(self) -> None:
        """The repr is the call, without defaults."""
        self.assertEqual(repr(JSON({"id": 1})), "JSON({'id': 1})")
        self.assertEqual(repr(JSON()), "JSON()")
        self.assertEqual(repr(JSON(exact=True)), "JSON(exact=True)")
        self.assertEqual(repr(JSON([anything], exact=True)), "JSON([anything], exact=True)")
