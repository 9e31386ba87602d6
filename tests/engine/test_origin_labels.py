"""Labels of steps: where they show, and what can't be one."""

from __future__ import annotations

import inspect
import unittest
from typing import Any

from tcpclient_testing import Connection, MockTCPServer, ThreadedMockTCPServer
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.report import Report
from tcpclient_testing.transcript.entries import Transcript


def report_of(server: MemoryServer) -> list[str]:
    """The report of a script that has failed, in lines."""
    report = Report.of(server.session, Transcript(0.0, 0))
    return [report.headline, *report.body]


class LabelTests(unittest.TestCase):
    """`label=`."""

    def test_report(self) -> None:
        """It stands in the first line, and before the step in the script."""
        server = MemoryServer()
        server.expect_connect(label="come in")
        server.expect_line(b"USER a", label="login")
        server.send_line(b"OK", label="welcome")
        server.connect()
        server.receive(b"USED")
        first, *body = report_of(server)
        self.assertRegex(first, r"^expected b'USER a', got b'USED' at byte 3 \(connection 1, step 2 of 3 'login', ")
        for line in ("    1 come in: expect_connect() ", "  > 2 login: expect_line(b'USER a') ",
                     "    3 welcome: send_line(b'OK') "):
            self.assertTrue(any(each.startswith(line) for each in body), body)

    def test_handle(self) -> None:
        """A step has it as an attribute, and shows it."""
        server = MemoryServer()
        step = server.expect_connect(label="come in")
        self.assertEqual(step.label, "come in")
        self.assertIn("come in: expect_connect()", repr(step))
        self.assertIsNone(server.expect_line().label)

    def test_rule(self) -> None:
        """Rules have one, too."""
        server = MemoryServer()
        server.expect_connect()
        self.assertIn("heartbeat: allow(b'PING')", repr(server.allow(b"PING", label="heartbeat")))
        self.assertIn("clock: every(", str(server.every(1, b"tick", label="clock")))

    def test_labels_that_are_none(self) -> None:
        """They are refused where the step is written."""
        server = MemoryServer()
        server.expect_connect()
        label: Any
        for label, error in ((3, TypeError), (b"x", TypeError), ("", ValueError), ("a\nb", ValueError)):
            with self.subTest(label), self.assertRaisesRegex(error, r"^label=\.\.\. is a "):
                server.expect_line(label=label)

    def test_every_method_takes_one(self) -> None:
        """All that write a step, on servers and connections; a step costs nothing if it has none."""
        for kind in (MockTCPServer, ThreadedMockTCPServer, Connection):
            for name in dir(kind):
                method = getattr(kind, name)
                if name.startswith("_") or not callable(method):
                    continue
                made = str(inspect.signature(method).return_annotation)
                wanted = made.startswith(("Step[", "ConnectStep[", "Allowed", "Every"))
                with self.subTest(kind=kind.__name__, method=name):
                    self.assertEqual("label" in inspect.signature(method).parameters, wanted)
        self.assertNotIn("label", Step.__slots__)


class NextStepTests(unittest.TestCase):
    """A step on which somebody writes the next one."""

    def test_expect_connect(self) -> None:
        """The connection is meant."""
        server = MemoryServer()
        step: Any = server.expect_connect()
        with self.assertRaisesRegex(AttributeError, r"^expect_connect\(\) returns a step, not the connection: write "
                                                    r"expect_connect\(\)\.connection\.expect_line, or await it first$"):
            step.expect_line(b"a")

    def test_other_steps(self) -> None:
        """They are not chained."""
        server = MemoryServer()
        server.expect_connect()
        step: Any = server.expect_line(b"a")
        with self.assertRaisesRegex(AttributeError, r"^expect_line\(\) returns a step, which has no send_line: write "
                                                    r"each step on the server, or on the connection$"):
            step.send_line(b"b")

    def test_all_that_connections_have(self) -> None:
        """Whatever a connection has, and a step has not, is told of; anything else is not."""
        server = MemoryServer()
        step: Any = server.expect_connect()
        for name in dir(Connection):
            if not name.startswith("_") and name not in ("index", "lines"):
                with self.subTest(name), self.assertRaisesRegex(AttributeError, "not the connection"):
                    getattr(step, name)
        with self.assertRaisesRegex(AttributeError, "object has no attribute 'colour'"):
            step.colour  # noqa: B018 - it raises


if __name__ == "__main__":
    unittest.main()
