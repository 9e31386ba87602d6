"""Thirty mistakes, each made in a test of its own, and the whole report of it: with both servers, under unittest.

``TCPCLIENT_TESTING_GOLDEN=write TCPCLIENT_TESTING_TESTS=all python -m unittest tests.mistakes.test_reports``
writes the reports anew. Look at the difference before you commit it, and read each as somebody does who has never seen
the code.
"""

from __future__ import annotations

import importlib
import io
import logging
import os
import platform
import re
import sys
import tempfile
import unittest
import warnings
from pathlib import Path
from unittest import mock

from tests.mistakes import asynchronous, threaded
from tests.mistakes.table import Mistake
from tests.support.collecting import collect
from tests.support.long import ALL
from tests.support.platforms import SEES_CLIENTS, SEES_THREADS

GOLDEN = Path(__file__).parent / "golden"
WRITE = os.environ.get("TCPCLIENT_TESTING_GOLDEN") == "write"

#: The cause stands in so many characters of the first line.
CAUSE = 80

#: Before Python 3.11 there are no notes, and tracebacks name other lines of a `with` statement.
WHOLE = sys.version_info >= (3, 11)


KINDS = {"asynchronous": asynchronous.MISTAKES, "threaded": threaded.MISTAKES}


def report_of(mistake: Mistake) -> str:
    """Make the mistake in a test; return its report."""
    name = f"test_{mistake.name}"
    with tempfile.TemporaryDirectory() as folder, mock.patch.object(sys, "path", [folder, *sys.path]), \
            mock.patch.object(sys, "dont_write_bytecode", True):
        Path(folder, f"{name}.py").write_text(mistake.for_unittest(), encoding="utf-8")
        importlib.invalidate_caches()
        logging.disable(logging.CRITICAL)  # asyncio tells of a loop that was blocked
        try:
            tests = unittest.defaultTestLoader.loadTestsFromName(name)
            result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
        finally:
            logging.disable(logging.NOTSET)
            sys.modules.pop(name, None)
    (_, text), = [*result.failures, *result.errors]
    return text.replace(folder + os.sep, "")


def normalised(text: str) -> str:
    """The report without what differs from run to run, and from Python to Python."""
    text = re.sub(r"^ *[~^]+ *$\n", "", text, flags=re.MULTILINE)  # what tracebacks underline
    text = re.sub(r"(?<=127\.0\.0\.1:)\d+", "PORT", text)
    text = re.sub(r"(?<=\S)  +| +(?=\d+(\.\d+)? m?s  )", "  ", text)  # columns are as wide as the times in them
    text = re.sub(r"\b\d+(\.\d+)? m?s\b", "TIME", text)
    text = re.sub(r"(16 03 01 .. .. 01 .. .. .. 03 03) .*", r"\1 ...", text)  # a client's random bytes
    text = re.sub(r"b['\"]\\x16\\x03\\x01.*", r"b'\\x16\\x03\\x01...", text)
    text = re.sub(r"(the server's certificate): .*? \(", r"\1: WHY (", text)
    text = re.sub(r"(SSLCertVerificationError): .* \(", r"\1: WHY (", text)
    return text.rstrip() + "\n"


def first_line(report: str) -> str:
    """The line with the exception, without its module."""
    found = re.search(r"^(?:\w+\.)*(\w*Error: .*)$", report, re.MULTILINE)
    return "" if found is None else found[1]


@unittest.skipUnless(SEES_CLIENTS and SEES_THREADS and platform.python_implementation() == "CPython",
                     "reports say less where less is known")
class ReportTests(unittest.TestCase):
    """What a user reads."""

    maxDiff = None

    def check(self, kind: str, mistakes: list[Mistake]) -> None:
        """Compare the reports of these mistakes with the golden files."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of asyncio's, on what a test with a mistake leaves behind
            for mistake in mistakes:
                if ALL or "timeout" not in mistake.options:  # else it lasts
                    self.check_one(kind, mistake)
            collect(cycles=True)

    def check_one(self, kind: str, mistake: Mistake) -> None:
        """Compare one report."""
        with self.subTest(kind=kind, mistake=mistake.name):
            text = normalised(report_of(mistake))
            path = GOLDEN / f"{kind}_{mistake.name}.txt"
            if WRITE:
                path.write_text(text, encoding="utf-8")
            golden = path.read_text(encoding="utf-8")
            self.assertEqual(*(text, golden) if WHOLE else (first_line(text), first_line(golden)))

    def test_asynchronous_servers(self) -> None:
        """The mixin for `IsolatedAsyncioTestCase`."""
        self.check("asynchronous", asynchronous.MISTAKES)

    def test_servers_in_threads(self) -> None:
        """The mixin for `TestCase`."""
        self.check("threaded", threaded.MISTAKES)

    def test_golden_files(self) -> None:
        """There is one for each mistake, and no other."""
        names = {f"{kind}_{mistake.name}.txt" for kind, mistakes in KINDS.items() for mistake in mistakes}
        self.assertEqual({path.name for path in GOLDEN.iterdir()}, names)

    def test_causes_and_remedies(self) -> None:
        """The cause stands in the first eighty characters; what to do, in the first line, the hint, or the script."""
        for kind, mistakes in KINDS.items():
            for mistake in mistakes:
                with self.subTest(kind=kind, mistake=mistake.name):
                    text = (GOLDEN / f"{kind}_{mistake.name}.txt").read_text(encoding="utf-8")
                    first = first_line(text).partition("Error: ")[2]
                    self.assertIn(mistake.cause, first.replace("127.0.0.1:PORT", "127.0.0.1:50000")[:CAUSE])
                    hint = text.partition("  hint\n")[2]
                    self.assertIn(mistake.remedy, f"{first}\n{hint or text}")


if __name__ == "__main__":
    unittest.main()
