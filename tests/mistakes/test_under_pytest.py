"""The mistakes of `tests.mistakes`, made in tests with fixtures: what pytest shows of them."""

from __future__ import annotations

import os
import re
import unittest
from pathlib import Path

from tests.mistakes import asynchronous, threaded
from tests.mistakes.table import Mistake
from tests.mistakes.test_reports import CAUSE, GOLDEN, first_line, normalised
from tests.support.long import ALL
from tests.support.pytest_runs import INI, PYTESTER, PluginTestCase, needs

pytest_plugins = PYTESTER


class MistakeTests(PluginTestCase):
    """The first line is that of unittest's report, and stands in the summary without the exception's name."""

    def output_of(self, mistakes: list[Mistake], columns: int) -> str:
        """Make these mistakes, each in a file of its own, on a terminal so wide; return what pytest prints."""
        for mistake in mistakes:
            self.pytester.makepyfile(**{f"test_{mistake.name}": mistake.for_pytest()})
        self.pytester.makeini(INI.format(mode="strict", more="", ignored="default"))
        os.environ["COLUMNS"] = str(columns)
        result = self.run_in_subprocess("-p", "no:cacheprovider")
        result.assert_outcomes(failed=len(mistakes))
        return self.text(result)

    def check(self, kind: str, mistakes: list[Mistake]) -> None:
        """Compare what pytest shows with the golden files of unittest's reports."""
        mistakes = [mistake for mistake in mistakes if ALL or "timeout" not in mistake.options]
        output = self.output_of(mistakes, 400)
        parts = re.split(r"^_{3,} test _{3,}$", output, flags=re.MULTILINE)[1:]
        self.assertEqual(len(parts), len(mistakes))
        shown = {Path(found[1]).name: part for part in parts
                 for found in re.finditer(r"^(test_\w+\.py):\d+: ", part, re.MULTILINE)}
        for mistake in mistakes:
            with self.subTest(kind=kind, mistake=mistake.name):
                golden = first_line((GOLDEN / f"{kind}_{mistake.name}.txt").read_text(encoding="utf-8"))
                name, _, text = golden.partition(": ")
                summary = re.search(rf"^FAILED test_{mistake.name}\.py::test - (.*)$", output, re.MULTILINE)
                assert summary is not None
                self.assertIn(text_alone(text), text_alone(shown[f"test_{mistake.name}.py"]))
                named = "" if name == "ExpectationError" else f"{name}: "  # a mistake in a script is an error like any
                self.assertTrue(text_alone(summary[1]).startswith(f"{named}{text_alone(text)}".replace(
                    "ScriptError", "tcpclient_testing.ScriptError")), summary[1])

    @needs("pytest_asyncio")
    def test_asynchronous_fixture(self) -> None:
        """`tcpserver`, in strict mode."""
        self.check("asynchronous", asynchronous.MISTAKES)

    def test_threaded_fixture(self) -> None:
        """`threaded_tcpserver`."""
        self.check("threaded", threaded.MISTAKES)

    def test_terminals(self) -> None:
        """At 120 columns the cause stands in the summary as a whole; at 80 it begins there."""
        for columns in (80, 120):
            self.pytester.makepyfile(test_door=threaded.MISTAKES[0].for_pytest().replace("def test(", "def test_1("))
            self.pytester.makeini(INI.format(mode="strict", more="", ignored="default"))
            os.environ["COLUMNS"] = str(columns)
            text = self.text(self.run_in_subprocess("-p", "no:cacheprovider"))
            summary = re.search(r"^FAILED test_door\.py::test_1 - (.*)$", text, re.MULTILINE)
            assert summary is not None, text
            with self.subTest(columns=columns):
                self.assertLessEqual(len(summary[0]), columns)
                self.assertTrue(summary[1].startswith("expected b'door=open', got b'door="), summary[1])
                if columns == 120:
                    self.assertIn("got b'door=opne' at byte 7", summary[1])
                    self.assertGreaterEqual(len(summary[1]), CAUSE)


def text_alone(text: str) -> str:
    """The text without numbers of ports and lines: a module for pytest has other lines."""
    text = re.sub(r"(?<=127\.0\.0\.1:)(PORT|\d+)", "PORT", normalised(text).rstrip())
    text = re.sub(r"\.py:\d+", ".py:LINE", text)
    return re.sub(r"ThreadedMockTCPServerMixin|the fixture threaded_tcpserver", "TWIN", text)


if __name__ == "__main__":
    unittest.main()
