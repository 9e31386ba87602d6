"""Under unittest, a report shows the test's own line, and no line of the library after it."""

from __future__ import annotations

import re
import unittest
from typing import Any, ClassVar

from tcpclient_testing import MockTCPServerMixin, ThreadedMockTCPServerMixin


def wrong(case: Any) -> None:
    """Fail by an assertion of the test's own."""
    case.assertEqual("left", "right")  # the line


def broken(case: Any) -> None:
    """Raise an error of the test's own."""
    raise LookupError(f"in {case}")  # the line


def misused(case: Any) -> None:
    """Make a mistake in a script."""
    case.start_tcpserver().expect_bytes(b"too early")  # the line


def mistyped(case: Any) -> None:
    """Give a step the wrong type."""
    case.tcpserver.expect_connect()
    case.tcpserver.expect_bytes("text")  # the line


class AsynchronousCase(MockTCPServerMixin):
    """A test that fails in one of its parts."""

    part: ClassVar[str] = ""
    failing: ClassVar[Any] = None

    def at(self, part: str) -> None:
        """Fail if this is the part."""
        if part == self.part:
            type(self).failing(self)

    def setUp(self) -> None:
        self.at("setUp")

    async def asyncSetUp(self) -> None:
        self.at("asyncSetUp")

    async def test(self) -> None:
        """Fail in the test method."""
        self.addCleanup(self.at, "clean-up")
        self.addAsyncCleanup(self.clean_up)
        self.at("test")
        with self.subTest():
            self.at("subTest")

    async def clean_up(self) -> None:
        """Fail after the test."""
        self.at("asynchronous clean-up")

    def tearDown(self) -> None:
        self.at("tearDown")

    async def asyncTearDown(self) -> None:
        self.at("asyncTearDown")


class ThreadedCase(ThreadedMockTCPServerMixin):
    """The same for a test that blocks."""

    part: ClassVar[str] = ""
    failing: ClassVar[Any] = None
    at = AsynchronousCase.at

    def setUp(self) -> None:
        self.at("setUp")

    def test(self) -> None:
        """Fail in the test method."""
        self.addCleanup(self.at, "clean-up")
        self.at("test")
        with self.subTest():
            self.at("subTest")

    def tearDown(self) -> None:
        self.at("tearDown")


PARTS = ("setUp", "asyncSetUp", "test", "subTest", "clean-up", "asynchronous clean-up", "tearDown", "asyncTearDown")
BLOCKING = ("setUp", "test", "subTest", "clean-up", "tearDown")


def report(case: type[Any], part: str, fail: Any) -> str:
    """Run the test of `case`, which fails by `fail` in this part, and return its one report."""
    result = unittest.TestResult()
    base = unittest.IsolatedAsyncioTestCase if case is AsynchronousCase else unittest.TestCase
    type(case.__name__, (case, base), {"part": part, "failing": staticmethod(fail)})("test").run(result)
    reports = result.errors + result.failures
    assert len(reports) == 1, reports
    return reports[0][1]


class LinesTests(unittest.TestCase):
    """Which lines a report shows."""

    def test_own_line(self) -> None:
        """It is the last line of the traceback, in each part of a test."""
        for case, parts in (AsynchronousCase, PARTS), (ThreadedCase, BLOCKING):
            for part in parts:
                for fail in wrong, broken, misused, mistyped:
                    with self.subTest(case=case.__name__, part=part, fail=fail.__name__):
                        text = report(case, part, fail)
                        lines = re.findall(r'File "(.*)", line .*\n +(.*)', text)
                        self.assertTrue(lines and lines[-1][1].endswith("# the line"), text)
                        self.assertEqual({name for name, _ in lines}, {__file__}, text)


if __name__ == "__main__":
    unittest.main()
