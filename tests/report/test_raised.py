"""An exception in one line."""

from __future__ import annotations

import builtins
import sys
import unittest
from typing import Any

from tcpclient_testing.report.raised import summary


class Mute(Exception):
    """It can't say what it is, as one that holds bytes under ``python -bb``."""

    def __str__(self) -> str:
        raise BytesWarning


class SummaryTests(unittest.TestCase):
    def test_line_names_the_exception_and_where_it_was_raised(self) -> None:
        """The place is in the client's code, even if a library of Python's own has raised the exception."""
        import json
        try:
            json.loads("{")
        except ValueError as error:
            self.assertRegex(summary(error), r"^JSONDecodeError: .+ \(test_raised.py:\d+\)$")

    @unittest.skipUnless(sys.version_info >= (3, 11), "needs exception groups")
    def test_group(self) -> None:
        """What a TaskGroup raises for one task is that task's exception; of several, the group is named."""
        group: Any = getattr(builtins, "ExceptionGroup", None)
        self.assertEqual(summary(group("tasks", [group("inner", [ValueError("no")])])), "ValueError: no")
        self.assertEqual(summary(group("tasks", [ValueError("no"), KeyError()])),
                         "ExceptionGroup: tasks (2 sub-exceptions)")

    def test_long_text_is_shortened_and_made_one_line(self) -> None:
        """The first line of a report is cut by test runners; what never was raised has no place."""
        self.assertEqual(summary(ValueError("a\nb")), "ValueError: a b")
        self.assertEqual(summary(ValueError()), "ValueError")
        self.assertEqual(summary(Mute(b"x", 1)), "Mute: b'x', 1")
        self.assertEqual(len(summary(ValueError("x" * 500))), len("ValueError: ") + 80)


if __name__ == "__main__":
    unittest.main()
