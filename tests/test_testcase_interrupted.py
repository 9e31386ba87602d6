"""Test cases that Ctrl-C or SystemExit ends, in each part of a test: it passes untouched, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import socket
import time
import unittest
from asyncio import streams
from collections.abc import Iterator
from typing import Any, Optional

from tcpclient_testing import MockTCPServerMixin, ThreadedMockTCPServerMixin
from tests.support.blocking import threads

PARTS = ("setUp", "test", "tearDown", "clean-up")
PARTS_IN_LOOP = ("asyncSetUp", "asyncTearDown", "asynchronous clean-up")
# While a part waits, something else in its loop raises: a callback, as Ctrl-C does mostly, or a task.
ELSEWHERE = ("callback", "task", "callback in asyncSetUp", "callback in asyncTearDown")


class Blocking:
    """A test whose client connects, and says nothing. Then one part of the test raises `ending`."""

    tcpserver_options = {"timeout": 60}
    part: str
    ending: type[BaseException]
    client: Optional[socket.socket] = None
    later_parts: list[str]

    def begin(self, part: str) -> None:
        """A part of the test begins: raise if it is the one."""
        test: Any = self
        if self.client is None and (part == "test" or part in self.part):
            test.tcpserver.expect_connect()
            test.tcpserver.expect_line(b"hello")
            self.client = socket.create_connection(test.tcpserver.address)
        if part == self.part:
            raise self.ending
        self.later_parts.append(part)

    def setUp(self) -> None:
        """Begin the set-up."""
        self.begin("setUp")

    def tearDown(self) -> None:
        """Begin the tear-down."""
        self.begin("tearDown")

    def test(self) -> None:
        """Begin the test, which adds a clean-up."""
        self.begin("test")
        self.addCleanup(self.begin, "clean-up")  # type: ignore[attr-defined]


class InLoop(Blocking):
    """The same in an event loop, with more parts."""

    async def asyncSetUp(self) -> None:
        """Begin the set-up in the loop."""
        await self.begin_in_loop("asyncSetUp")

    async def asyncTearDown(self) -> None:
        """Begin the tear-down in the loop."""
        await self.begin_in_loop("asyncTearDown")

    async def test(self) -> None:  # type: ignore[override]
        """Begin the test, which adds a clean-up for each kind, and may wait for what never comes."""
        test: Any = self
        await self.begin_in_loop("test")
        test.addAsyncCleanup(self.begin_in_loop, "asynchronous clean-up")
        test.addCleanup(self.begin, "clean-up")
        if self.part == "task":
            waiting = asyncio.ensure_future(self.raise_in_task())
            await asyncio.Event().wait()
            await waiting
        await self.wait_for_callback("callback")

    async def begin_in_loop(self, part: str) -> None:
        """Begin a part of the test."""
        self.begin(part)
        await self.wait_for_callback(f"callback in {part}")

    async def wait_for_callback(self, part: str) -> None:
        """If this is the part, wait for what never comes, while a callback raises."""
        if part == self.part:
            asyncio.get_running_loop().call_soon(self.begin, part)
            await asyncio.Event().wait()

    async def raise_in_task(self) -> None:
        """Raise in another task than the test's."""
        raise self.ending


def cases() -> Iterator[tuple[type[Any], str]]:
    """Make a test case for each surrounding of a server, and for each of its parts: one to be run once."""
    for bases in ((InLoop, MockTCPServerMixin, unittest.IsolatedAsyncioTestCase),
                  (InLoop, ThreadedMockTCPServerMixin, unittest.IsolatedAsyncioTestCase),
                  (Blocking, ThreadedMockTCPServerMixin, unittest.TestCase)):
        for part in PARTS if bases[0] is Blocking else (*PARTS, *PARTS_IN_LOOP, *ELSEWHERE):
            yield type(f"With{bases[1].__name__}", bases, {"part": part}), part


class InterruptedTests(unittest.TestCase):
    def setUp(self) -> None:
        """Leave out what asyncio logs of tasks that were interrupted."""
        logger = logging.getLogger("asyncio")
        self.addCleanup(logger.setLevel, logger.level)
        self.addCleanup(gc.collect)
        logger.setLevel(logging.CRITICAL)

    def interrupted(self, case: type[Any], ending: type[BaseException]) -> unittest.TestResult:
        """Run a case, one part of which raises; check that nothing is left behind, and return its result."""
        test = case("test")
        test.ending, test.later_parts = ending, []
        result = unittest.TestResult()
        before, started = threads(), time.monotonic()
        try:
            test.run(result)
        except KeyboardInterrupt:
            self.assertIs(ending, KeyboardInterrupt)
        else:
            self.assertIs(ending, SystemExit)
        self.assertLess(time.monotonic() - started, 20)
        with test.client:
            test.client.settimeout(20)
            with contextlib.suppress(ConnectionError):
                self.assertEqual(test.client.recv(1), b"")  # the server has closed, or reset, its side
        self.assertTrue(test.tcpserver.closed)
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection(test.tcpserver.address)
        self.assertEqual(streams.StreamWriter.__module__, "asyncio.streams")
        self.assertEqual(asyncio.StreamWriter.__init__.__module__, "asyncio.streams")
        self.assertEqual(threads(), before)
        self.assertNotIn(case.part, test.later_parts)
        return result

    def test_keyboard_interrupt(self) -> None:
        """It passes; nothing is reported, and nothing waited for."""
        for case, part in cases():
            with self.subTest(case=case.__name__, part=part):
                result = self.interrupted(case, KeyboardInterrupt)
                self.assertEqual((result.errors, result.failures), ([], []))

    def test_system_exit(self) -> None:
        """It is the test's one report, as unittest has it: the servers give no verdict; the other parts run."""
        for case, part in cases():
            with self.subTest(case=case.__name__, part=part):
                result = self.interrupted(case, SystemExit)
                self.assertEqual((len(result.errors), result.failures), (1, []))
                self.assertRegex(result.errors[0][1], r"\ATraceback(.|\n)*\nSystemExit\n\Z")


if __name__ == "__main__":
    unittest.main()
