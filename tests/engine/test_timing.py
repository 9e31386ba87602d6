"""The time-outs of steps, as they are written."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.steps import DEFAULT_TIMING, Timing
from tcpclient_testing.engine.timing import UNSET, timing_of


def values(timing: Timing) -> tuple[object, ...]:
    """All that a timing says."""
    return timing.timeout, timing.within, timing.after, timing.default


class TimingTests(unittest.TestCase):
    def test_what_is_written_is_what_holds(self) -> None:
        """The server's time-out holds where neither `timeout` nor `within` is given."""
        self.assertIs(timing_of("expect_line", UNSET, None), DEFAULT_TIMING)
        for arguments, expected in (
            ((UNSET, None, 2), (None, None, 2.0, True)),
            ((UNSET, 30), (None, 30.0, None, False)),
            ((2, 30), (2.0, 30.0, None, False)),
            ((None, None), (None, None, None, False)),
        ):
            with self.subTest(arguments):
                self.assertEqual(values(timing_of("expect_connect", *arguments)), expected)

    def test_what_can_not_be_is_refused(self) -> None:
        """The text names the method and the argument."""
        with self.assertRaisesRegex(ValueError, r"^expect_line\(within=\.\.\.\) is a number of seconds"):
            timing_of("expect_line", UNSET, -1)
        with self.assertRaisesRegex(ValueError, r"^expect_connect\(after=2, within=1\) can't be"):
            timing_of("expect_connect", UNSET, 1, 2)


if __name__ == "__main__":
    unittest.main()
