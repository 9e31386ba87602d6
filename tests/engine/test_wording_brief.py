"""Values in the first line of a report: shortened to 24 bytes a side, and never at the difference."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.mismatches import CAUSE, BytesDiffer
from tcpclient_testing.engine.wording import brief, contrast


class BriefTests(unittest.TestCase):
    """One value."""

    def test_short_values(self) -> None:
        """They are shown whole."""
        self.assertEqual(brief(b"PING\r\n"), "b'PING\\r\\n'")
        self.assertEqual(brief("x" * 24), repr("x" * 24))

    def test_long_values(self) -> None:
        """The beginning, or what is around a place."""
        self.assertEqual(brief(b"a" * 25), f"{b'a' * 24!r}...")
        self.assertEqual(brief(b"a" * 100 + b"b", 100), f"...{b'a' * 12 + b'b'!r}")
        self.assertEqual(brief(b"a" * 50 + b"b" + b"c" * 50, 50), f"...{b'a' * 12 + b'b' + b'c' * 11!r}...")

    def test_escapes(self) -> None:
        """Fewer bytes are shown if they take more room, but at least four."""
        self.assertLessEqual(len(brief(bytes(100), room=40)), 40)
        self.assertEqual(brief(bytes(100), room=1), f"{bytes(4)!r}...")


class ContrastTests(unittest.TestCase):
    """Two values that differ."""

    def test_same_part_of_both(self) -> None:
        """Both begin at the same byte, so that the eye finds the difference."""
        self.assertEqual(contrast(b"a" * 40 + b"bX", b"a" * 40 + b"cY", 40, 60),
                         (f"...{b'a' * 12 + b'bX'!r}", f"...{b'a' * 12 + b'cY'!r}"))

    def test_difference_near_the_beginning(self) -> None:
        """Then the beginning is shown."""
        self.assertEqual(contrast(b"abc" * 20, b"abd" * 20, 2, 80), (f"{(b'abc' * 20)[:24]!r}...",
                                                                     f"{(b'abd' * 20)[:24]!r}..."))

    def test_first_line(self) -> None:
        """Values and place stand in the first eighty characters, whatever the values are, and wherever they differ."""
        for unit in (b"a", b"\0", b"\\", b"'\""):
            for size, offset in ((1, 0), (30, 29), (1000, 999), (100_000, 50_000)):
                expected = (unit * size)[:size]
                received = expected[:offset] + b"?" + expected[offset + 1:]
                with self.subTest(unit=unit, size=size, offset=offset):
                    summary = BytesDiffer(expected, received, offset).summary
                    self.assertLessEqual(len(summary), CAUSE)
                    self.assertTrue(summary.endswith(f" at byte {offset}"), summary)
                    self.assertIn("?", summary)


if __name__ == "__main__":
    unittest.main()
