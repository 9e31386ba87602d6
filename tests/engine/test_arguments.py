"""Tests of the checks of arguments."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.arguments import as_bytes, as_count


class BytesArgumentTests(unittest.TestCase):
    """Arguments that are bytes."""

    def test_bytes_are_copied(self) -> None:
        """Every bytes-like object becomes bytes of its own."""
        source = bytearray(b"abc")
        self.assertEqual([as_bytes(each, "x") for each in (b"abc", source, memoryview(source))], [b"abc"] * 3)
        self.assertIs(type(as_bytes(source, "x")), bytes)

    def test_str_is_refused_with_advice(self) -> None:
        """A str is refused with the literal to write, where there is one."""
        for value, text in (
            ("abc", "send(data) takes bytes, got the str 'abc'; write b'abc'"),
            ("é", "send(data) takes bytes, got the str 'é'; write b\"...\", or encode it"),
            (None, "send(data) takes bytes, got None"),
            (5, "send(data) takes bytes, got 5"),
        ):
            with self.subTest(value=value), self.assertRaises(TypeError) as caught:
                as_bytes(value, "send(data)")
            self.assertEqual(str(caught.exception), text)


class CountArgumentTests(unittest.TestCase):
    """Arguments that are numbers of bytes."""

    def test_counts_within_limits(self) -> None:
        """The limits themselves are allowed."""
        self.assertEqual([as_count(value, "n", 0, 2) for value in (0, 1, 2)], [0, 1, 2])

    def test_others_are_refused(self) -> None:
        """No int: TypeError; out of range: ValueError."""
        for value, kind, text in (
            (True, TypeError, "n takes a number of bytes, got True"),
            (1.0, TypeError, "n takes a number of bytes, got 1.0"),
            ("1", TypeError, "n takes a number of bytes, got '1'"),
            (-1, ValueError, "n must be 0 to 8, got -1"),
            (9, ValueError, "n must be 0 to 8, got 9"),
        ):
            with self.subTest(value=value), self.assertRaises(kind) as caught:
                as_count(value, "n", 0, 8)
            self.assertEqual(str(caught.exception), text)
        with self.assertRaisesRegex(ValueError, "n must be 1 or more, got 0"):
            as_count(0, "n", 1)
