"""Running what the README shows, and judging whether it does what the README says."""

from __future__ import annotations

import ast
import asyncio
import importlib.metadata
import importlib.util
import io
import os
import subprocess
import sys
import tempfile
import traceback
import unittest
from pathlib import Path
from typing import Any, Optional

from tests.support.readme import ROOT, Block, Command, normalised

__all__ = [
    "RUNNING",
    "Outcome",
    "problem_with_command",
    "problem_with_python",
    "run_command",
    "run_python",
    "runs_whole_suite",
]

# Set for the commands that are run here. One of them might be the suite, which would run them again.
RUNNING = "TCPCLIENT_TESTING_README_RUNS"

COMMAND_TIMEOUT = 120


class Outcome:
    """What became of a block: what was printed, and the traceback of each failure."""

    def __init__(self, printed: str = "", failures: tuple[str, ...] = ()) -> None:
        self.printed = printed
        self.failures = failures


def run_python(block: Block, namespace: dict[str, Any]) -> Outcome:
    """Run a Python block: its tests if it defines any, otherwise its statements, which may await."""
    if block.has_test_case:
        return run_test_cases(block)
    if block.has_pytest_functions:
        return run_pytest(block)
    return run_statements(block, namespace)


def run_test_cases(block: Block) -> Outcome:
    """Run a block as a module of tests."""
    name = f"readme_line_{block.line}"
    printed = io.StringIO()
    with tempfile.TemporaryDirectory() as folder:
        # A real file, so that reports and tracebacks can show its lines.
        path = Path(folder, f"{name}.py")
        path.write_text(block.text, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None and spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
            suite = unittest.defaultTestLoader.loadTestsFromModule(module)
            result = unittest.TextTestRunner(printed).run(suite)
        finally:
            del sys.modules[name]
    if not result.testsRun:
        return Outcome(failures=("no test was found in the block",))
    return Outcome(printed.getvalue(), tuple(text for _, text in result.failures + result.errors))


# pytest-asyncio warns where its option isn't set, and pytest where nobody knows it.
PYTEST_INI = """[pytest]
asyncio_default_fixture_loop_scope = function
filterwarnings = ignore:Unknown config option:pytest.PytestConfigWarning
"""


def run_pytest(block: Block) -> Outcome:
    """Run a block of test functions under pytest, in another process."""
    if importlib.util.find_spec("pytest") is None:
        raise unittest.SkipTest("needs pytest")
    if "pytest.mark.asyncio" in block.text and importlib.util.find_spec("pytest_asyncio") is None:
        raise unittest.SkipTest("needs pytest_asyncio")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"test_readme_line_{block.line}.py")
        path.write_text(block.text, encoding="utf-8")
        Path(folder, "pytest.ini").write_text(PYTEST_INI, encoding="utf-8")
        plugin = [] if plugin_is_installed() else ["-p", "tcpclient_testing.pytest_plugin"]
        output, status = run_command(["-m", "pytest", "-q", "-p", "no:cacheprovider", *plugin, str(path)], folder)
    return Outcome(output, (output,) if status else ())


def plugin_is_installed() -> bool:
    """Whether pytest finds the plugin by its entry point; it can't be registered a second time."""
    found = importlib.metadata.entry_points()
    group = found.select(group="pytest11") if sys.version_info >= (3, 10) else found.get("pytest11", ())
    return any(entry.name == "tcpclient_testing" for entry in group)


def run_statements(block: Block, namespace: dict[str, Any]) -> Outcome:
    """Run a block's statements in the names that the blocks before it defined, as a reader would."""
    name = f"README.rst:{block.line}"
    try:
        code = compile(block.text, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True,
                       optimize=0)
        pending = eval(code, namespace)
        if pending is not None:
            asyncio.run(pending)
    except Exception:
        return Outcome(failures=(traceback.format_exc(),))
    return Outcome()


def run_command(arguments: list[str], folder: str = str(ROOT)) -> tuple[str, int]:
    """Run Python with `arguments`, the repository on its path, and return what it printed and its exit status."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    process = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, RUNNING: "1", "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=COMMAND_TIMEOUT,
        check=False,
    )
    return process.stdout.decode("utf-8", "replace"), process.returncode


def report_in(failure: str) -> list[str]:
    """Return the lines of a traceback from the exception's own line on, normalised."""
    lines = normalised(failure)
    starts = [number for number, line in enumerate(lines) if line.startswith("Traceback (")]
    number = starts[-1] + 1 if starts else 0
    while number < len(lines) and lines[number].startswith("  "):
        number += 1
    return lines[number:]


def contains(lines: list[str], part: list[str]) -> bool:
    """Whether `part` stands in `lines`, without a gap."""
    return any(lines[start : start + len(part)] == part for start in range(len(lines) - len(part) + 1))


def problem_with_python(block: Block, following: Optional[Block], outcome: Outcome) -> Optional[str]:
    """Return what is wrong with a Python block that ran, or None.

    A failing block's `text` block may be an excerpt of the output, but an excerpt that holds the whole report.
    """
    where = f"README.rst:{block.line}"
    if "fails" not in (block.above, block.below):
        return f"{where}: the example fails\n\n{outcome.failures[0]}" if outcome.failures else None
    if len(outcome.failures) != 1:
        return f"{where}: marked `.. fails`: expected one failure, got {len(outcome.failures)}"
    if following is None or following.language != "text":
        return f"{where}: marked `.. fails`, but the next block is no `.. code-block:: text` with its output"
    shown, report = normalised(following.text), report_in(outcome.failures[0])
    printed = normalised(outcome.printed or outcome.failures[0])
    if contains(shown, report) and contains(printed, shown):
        return None
    actual = outcome.printed or outcome.failures[0]
    return f"README.rst:{following.line}: this is not what the example above prints, which is\n\n{actual}"


def problem_with_command(block: Block, command: Command, printed: str, status: int) -> Optional[str]:
    """Return what is wrong with a command that ran, or None."""
    where = f"README.rst:{block.line}: $ {command.text}"
    if bool(status) != ("fails" in (block.above, block.below)):
        return f"{where}: exit status {status}\n\n{printed}"
    if command.output.strip() and not contains(normalised(printed), normalised(command.output.strip("\n"))):
        return f"{where}: this is not what it prints, which is\n\n{printed}"
    return None


def runs_whole_suite(arguments: list[str]) -> bool:
    """Whether a command line runs every test, among them this file."""
    if arguments[:2] not in (["-m", "unittest"], ["-m", "pytest"]):
        return False
    subjects = {argument.rstrip("/") for argument in arguments[2:] if not argument.startswith("-")}
    return not subjects or bool(subjects & {"discover", "tests", ".", "tests.test_readme", "tests/test_readme.py"})
