"""The README is held to what it says: its examples run, its failing example prints what it shows, its commands work.

See `tests.support.readme` for the comments by which the README marks a block that fails or that isn't run.
"""

from __future__ import annotations

import importlib.util
import io
import os
import shlex
import unittest
import warnings
from typing import Any

from tests.support.readme import ROOT, Block, Command, blocks, commands, normalised, opening_commands
from tests.support.readme_runs import (
    RUNNING,
    problem_with_command,
    problem_with_python,
    run_command,
    run_python,
    runs_whole_suite,
)


@unittest.skipIf(RUNNING in os.environ, "one of the README's commands runs already")
class ReadmeTests(unittest.TestCase):
    """README.rst, as it is."""

    text: str
    blocks: list[Block]

    @classmethod
    def setUpClass(cls) -> None:
        cls.text = (ROOT / "README.rst").read_text(encoding="utf-8")
        cls.blocks = blocks(cls.text)

    def test_opening_commands_are_one_example_and_the_suite(self) -> None:
        """The first console block holds two commands: the first runs one example, the second everything."""
        example, suite = (shlex.split(command) for command in opening_commands(self.text))
        self.assertEqual((example[0], suite[0]), ("python", "python"))
        self.assertFalse(runs_whole_suite(example[1:]), example)
        self.assertTrue(runs_whole_suite(suite[1:]), suite)

    def test_python_blocks_do_what_they_say(self) -> None:
        """Each Python block runs, and passes or fails as the README says."""
        namespace: dict[str, Any] = {"__name__": "readme"}
        numbered = [(number, block) for number, block in enumerate(self.blocks) if block.language == "python"]
        if not numbered:
            self.skipTest("README.rst has no Python block yet")
        for number, block in numbered:
            with self.subTest(line=block.line):
                if block.above.startswith("not run"):
                    self.skipTest(block.above)
                following = self.blocks[number + 1] if number + 1 < len(self.blocks) else None
                problem = problem_with_python(block, following, run_python(block, namespace))
                if problem:
                    self.fail(problem)

    def test_console_commands_do_what_they_say(self) -> None:
        """Each `$ python` command of a console block ends, and prints, as the README says."""
        for block in self.blocks:
            for command in commands(block) if block.language == "console" else ():
                with self.subTest(line=block.line, command=command.text):
                    arguments = shlex.split(command.text)
                    if block.above.startswith("not run"):
                        self.skipTest(block.above)
                    if arguments[0] != "python":
                        continue
                    if runs_whole_suite(arguments[1:]):
                        continue  # .ci/run does, in an environment of its own
                    problem = problem_with_command(block, command, *run_command(arguments[1:]))
                    if problem:
                        self.fail(problem)

    @unittest.skipUnless(importlib.util.find_spec("docutils"), "needs docutils")
    def test_markup_is_clean(self) -> None:
        """The README is reStructuredText that a package index renders: docutils finds nothing to warn of."""
        # Code is not coloured here: that would need Pygments.
        complaints = io.StringIO()
        publish(
            self.text, {"syntax_highlight": "none", "warning_stream": complaints, "report_level": 1, "halt_level": 5}
        )
        self.assertEqual(complaints.getvalue(), "")


def publish(text: str, settings: dict[str, Any]) -> None:
    """Render reStructuredText with docutils, whose own deprecations are not ours."""
    from docutils.core import publish_string

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        publish_string(text, writer_name="html5", settings_overrides=settings)


GREETING = """
import unittest

class GreetingTests(unittest.TestCase):
    def test_greeting(self):
        self.assertEqual("Hello", {greeting!r})
"""


def python_block(text: str, *, above: str = "", line: int = 1) -> Block:
    """Return a Python block of a README."""
    return Block("python", text, line, above, "")


class ReadmeRulesTests(unittest.TestCase):
    """The checks above notice what they are for."""

    def test_blocks_when_comments_and_options_stand_around(self) -> None:
        """Language, text, line and comments of each block are found; other directives are left alone."""
        text = (
            "Title\n=====\n\n.. note:: not code\n\n"
            ".. code-block:: console\n   :caption: x\n\n   $ python -V\n   Python 3\n\n"
            ".. fails\n\n.. code-block:: python\n\n   if 1:\n\n       2\n\n"
            ".. fails\n\n.. code-block:: text\n\n   no\n\n"
            ".. not run: slow\n\n.. code-block:: console\n\n   $ make\n\nProse.\n"
        )
        self.assertEqual(
            blocks(text),
            [
                Block("console", "$ python -V\nPython 3\n", 9, "", ""),
                Block("python", "if 1:\n\n    2\n", 16, "fails", "fails"),
                Block("text", "no\n", 24, "", ""),
                Block("console", "$ make\n", 30, "not run: slow", ""),
            ],
        )
        self.assertEqual(commands(blocks(text)[0]), [Command("python -V", "Python 3\n")])

    def test_opening_commands_when_one_is_missing(self) -> None:
        """A first console block without exactly two commands is an error, and so is no console block."""
        with self.assertRaisesRegex(ValueError, "two lines .* got 1"):
            opening_commands(".. code-block:: console\n\n   $ python -m unittest\n")
        with self.assertRaisesRegex(ValueError, "no `.. code-block:: console`"):
            opening_commands("Prose.\n")

    def test_example_when_it_fails_unannounced(self) -> None:
        """An example that fails without `.. fails` is a problem; one that passes is none."""
        for greeting, expected in (("Hello", type(None)), ("Goodbye", str)):
            block = python_block(GREETING.format(greeting=greeting))
            self.assertIsInstance(problem_with_python(block, None, run_python(block, {})), expected)

    def test_example_when_it_passes_although_marked(self) -> None:
        """An example that is marked `.. fails` and passes is a problem."""
        block = python_block(GREETING.format(greeting="Hello"), above="fails")
        self.assertIn("got 0", str(problem_with_python(block, None, run_python(block, {}))))

    def test_example_when_its_output_is_compared(self) -> None:
        """The output shown must hold the whole report as it is really printed, and nothing else."""
        block = python_block(GREETING.format(greeting="Goodbye"), above="fails")
        outcome = run_python(block, {})
        report = "AssertionError: 'Hello' != 'Goodbye'\n- Hello\n+ Goodbye\n"
        for shown, expected in (
            (report, type(None)),
            (outcome.printed, type(None)),
            (report[: -len("+ Goodbye\n")], str),
            (report.replace("+ Goodbye", "+ Good day"), str),
            (f"{report}More.\n", str),
        ):
            with self.subTest(shown=shown):
                following = Block("text", shown, 9, "", "")
                self.assertIsInstance(problem_with_python(block, following, outcome), expected)

    def test_example_when_it_awaits(self) -> None:
        """Statements may await at the top level, and see the names of earlier blocks."""
        namespace: dict[str, Any] = {}
        run_python(python_block("import asyncio\nname = 'x'\n"), namespace)
        self.assertEqual(
            run_python(python_block("await asyncio.sleep(0)\nassert name == 'x'\n"), namespace).failures, ()
        )
        self.assertEqual(len(run_python(python_block("assert name == 'y'\n"), namespace).failures), 1)

    def test_command_when_it_fails_or_prints_something_else(self) -> None:
        """A command's exit status and the output shown below it are both held to."""
        block = Block("console", "", 1, "", "")
        printing = Command("python -c 'print(1)'", "1\n")
        self.assertIsNone(problem_with_command(block, printing, *run_command(["-c", "print(1)"])))
        self.assertIsNotNone(problem_with_command(block, printing, *run_command(["-c", "print(2)"])))
        self.assertIsNotNone(
            problem_with_command(block, printing, *run_command(["-c", "print(1); raise SystemExit(1)"]))
        )

    def test_normalised_when_only_times_and_places_differ(self) -> None:
        """Two outputs of one failure are equal once times, ports, paths and line numbers are taken out."""
        first = (
            'Traceback (most recent call last):\n  File "/a/test_x.py", line 3, in f\n    g()\n    ~^^\n'
            "tcpclient_testing.ExpectationError: no client (step 1, test_x.py:31)\n"
            "    1 expect_connect()     failed     0.4 ms   :30\n"
            "     12 ms  client from 127.0.0.1:50122\n        ^^  ^\n"
        )
        second = (
            'Traceback (most recent call last):\n  File "C:\\b\\test_x.py", line 33, in f\n    g()\n'
            "ExpectationError: no client (step 1, test_x.py:7)\n"
            "    1 expect_connect()     failed   120.4 ms   :6\n    3.0 ms  client from 127.0.0.1:1\n        ^^  ^\n"
        )
        self.assertEqual(normalised(first), normalised(second))
        self.assertNotEqual(normalised(first), normalised(second.replace("^^  ^", "^^   ^")))

    def test_normalised_when_times_have_other_widths(self) -> None:
        """How long something took moves no column that counts; a time that is not flush right is seen."""
        quick = (
            "    1 expect_connect()  satisfied    0.9 ms  :10\n    2 expect_line()     not reached          :11\n"
            "    0.9 ms  client connected\n    1.4 ms  received 11 bytes\n"
        )
        for slow in ("11 ms", "120 ms", "1.02 s", "12.34 s"):
            with self.subTest(slow=slow):
                flush = quick.replace("  satisfied    0.9 ms", f"  satisfied    {slow:<6}")
                flush = flush.replace("    1.4 ms", f"{slow:>10}")
                self.assertEqual(normalised(quick), normalised(flush))
        self.assertNotEqual(normalised(quick), normalised(quick.replace("    1.4 ms", "     1.4 ms")))

    def test_whole_suite_when_a_command_would_recur(self) -> None:
        """A command that would run this file again is told from one that runs an example."""
        whole = (
            "-m unittest",
            "-m unittest -v",
            "-m pytest tests/",
            "-m unittest discover",
            "-m unittest tests.test_readme",
        )
        for line in whole:
            self.assertTrue(runs_whole_suite(shlex.split(line)), line)
        for line in ("-m unittest tests.examples.test_hello", "-m tcpclient_testing show x.tape", "-V"):
            self.assertFalse(runs_whole_suite(shlex.split(line)), line)


if __name__ == "__main__":
    unittest.main()
