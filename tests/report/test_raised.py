"""An exception in one line."""

from __future__ import annotations

import unittest

from tcpclient_testing.report.raised import summary


class SummaryTests(unittest.TestCase):
    def test_line_names_the_exception_and_where_it_was_raised(self) -> None:
        """The place is in the client's code, even if a library of Python's own has raised the exception."""
        import json
        try:
            json.loads("{")
        except ValueError as error:
            self.assertRegex(summary(error), r"^JSONDecodeError: Expecting .* \(test_raised.py:\d+\)$")

    def test_long_text_is_shortened_and_made_one_line(self) -> None:
        """The first line of a report is cut by test runners; what never was raised has no place."""
        self.assertEqual(summary(ValueError("a\nb")), "ValueError: a b")
        self.assertEqual(summary(ValueError()), "ValueError")
        self.assertEqual(len(summary(ValueError("x" * 500))), len("ValueError: ") + 80)


if __name__ == "__main__":
    unittest.main()
