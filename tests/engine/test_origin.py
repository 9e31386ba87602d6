"""Origins: the line of a step, and of the test that called its helper."""

from __future__ import annotations

import inspect
import unittest
from typing import Any

from tcpclient_testing.memory.host import MemoryServer


def here() -> int:
    """The number of the caller's line."""
    frame = inspect.currentframe()
    assert frame is not None and frame.f_back is not None
    return frame.f_back.f_lineno


def helper(server: MemoryServer) -> Any:
    """Write a step for a test."""
    return server.expect_eof(), here()


class OriginTests(unittest.TestCase):
    def test_step_of_the_test_itself(self) -> None:
        """A step that the test writes has one line: its own."""
        server = MemoryServer()
        step, line = server.expect_connect(), here()
        self.assertEqual([str(each) for each in step.lines()], [f"test_origin.py:{line}"])

    def test_step_of_a_helper(self) -> None:
        """A step that a helper writes has the helper's line, and then the test's; unittest's lines are left out."""
        server = MemoryServer()
        server.expect_connect()
        (step, line), called = helper(server), here()
        self.assertEqual([each.line for each in step.lines()], [line, called])


if __name__ == "__main__":
    unittest.main()
