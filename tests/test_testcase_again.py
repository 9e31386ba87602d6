"""The mixins: the same test case is run again, as by a runner that retries."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import unittest
from typing import Any

from tcpclient_testing import MockTCPServerMixin, ThreadedMockTCPServerMixin
from tests.support.loops import AsyncTestCase
from tests.support.outcomes import Outcome, quick

SEEN = contextvars.ContextVar("SEEN", default=0)


def script(server: Any) -> None:
    """PING, and the client closes."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.expect_disconnect()


class Asynchronous(MockTCPServerMixin, AsyncTestCase):
    """Its client sends `data`."""

    tcpserver_options = quick
    data = b"PING\r\n"

    async def talks(self) -> None:
        """The client sends."""
        script(self.tcpserver)
        await self.talk(self.tcpserver)

    async def talk(self, server: Any) -> None:
        """Send, and close."""
        _, writer = await asyncio.open_connection(*server.address)
        writer.write(self.data)
        writer.close()
        await writer.wait_closed()

    async def begins_with_the_same_context(self) -> None:
        """What the test has put into its context is not there when it is run again."""
        self.assertEqual(SEEN.get(), 0)
        SEEN.set(1)

    @unittest.expectedFailure
    async def fails_as_expected(self) -> None:
        """The verdict is expected, if the data are wrong."""
        await self.talks()

    async def with_subtests(self) -> None:
        """Each subtest has a server of its own."""
        for n in range(2):
            with self.subTest(n=n):
                server = self.start_tcpserver()
                script(server)
                await self.talk(server)

    async def is_interrupted_by_the_user(self) -> None:
        """The script has failed, or not, when Ctrl-C is pressed."""
        script(self.tcpserver)
        if self.data == b"Ctrl-C":
            raise KeyboardInterrupt
        await self.talk(self.tcpserver)


class Threaded(ThreadedMockTCPServerMixin, unittest.TestCase):
    """Its client sends `data`, and blocks."""

    tcpserver_options = quick
    data = b"PING\r\n"

    def talks(self) -> None:
        """The client sends."""
        script(self.tcpserver)
        self.talk(self.tcpserver)

    def talk(self, server: Any) -> None:
        """Send, and close."""
        with socket.create_connection(server.address) as client:
            client.sendall(self.data)

    @unittest.expectedFailure
    def fails_as_expected(self) -> None:
        """The verdict is expected, if the data are wrong."""
        self.talks()

    def with_subtests(self) -> None:
        """Each subtest has a server of its own."""
        for n in range(2):
            with self.subTest(n=n):
                server = self.start_tcpserver()
                script(server)
                self.talk(server)

    def is_interrupted_by_the_user(self) -> None:
        """The script has failed, or not, when Ctrl-C is pressed."""
        script(self.tcpserver)
        if self.data == b"Ctrl-C":
            raise KeyboardInterrupt
        self.talk(self.tcpserver)


class InLoop(ThreadedMockTCPServerMixin, AsyncTestCase):
    """Its server has a thread, and its test a loop."""

    tcpserver_options = quick
    data = b"PING\r\n"
    talk = Asynchronous.talk
    talks = Asynchronous.talks
    fails_as_expected = Asynchronous.fails_as_expected
    with_subtests = Asynchronous.with_subtests


class OnVirtualTime(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """It has a virtual clock."""

    virtual_time = True
    tcpserver_options = quick
    data = b"PING\r\n"
    talk = Asynchronous.talk
    talks = Asynchronous.talks


class RetryingRun(unittest.IsolatedAsyncioTestCase):
    """A base class whose `run` runs the test three times, and discards all results but the last."""

    data: bytes
    results: list[unittest.TestResult]

    def run(self, result: Any = None) -> Any:
        """Run the test three times."""
        self.results = []
        for data in (b"PING\r\n", b"PUNG\r\n", b"PING\r\n"):
            self.data = data
            self.results.append(unittest.TestResult())
            super().run(self.results[-1])
        return result


class RunAgainTests(unittest.TestCase):
    """One instance of a test case is run again and again."""

    def outcomes(self, case: Any, *data: bytes) -> list[list[str]]:
        """Run a test once with each of these data; return the kinds of its reports."""
        outcomes = []
        for each in data:
            case.data = each
            result = unittest.TestResult()
            case.run(result)
            outcomes.append(Outcome(result))
        self.texts = [outcome.text for outcome in outcomes]
        return [outcome.kinds for outcome in outcomes]

    def test_each_run_starts_from_nothing(self) -> None:
        """Pass, fail, pass: each run has a server of its own, and reports what happens in it."""
        for case in (Asynchronous("talks"), Threaded("talks"), InLoop("talks"), OnVirtualTime("talks")):
            with self.subTest(case=type(case).__name__):
                kinds = self.outcomes(case, b"PING\r\n", b"PUNG\r\n", b"PUNG\r\n", b"PING\r\n")
                self.assertEqual(kinds, [[], ["failure"], ["failure"], []])
                self.assertIn("got b'PUNG'", self.texts[2])

    def test_one_result_for_all_runs(self) -> None:
        """With the same result, the failures of all runs are in it."""
        for case in (Asynchronous("talks"), Threaded("talks")):
            with self.subTest(case=type(case).__name__):
                result = unittest.TestResult()
                for data in (b"PUNG\r\n", b"PING\r\n", b"PANG\r\n"):
                    case.data = data
                    case.run(result)
                self.assertEqual((result.testsRun, Outcome(result).kinds), (3, ["failure", "failure"]))

    def test_retry_in_a_class_before_the_mixin(self) -> None:
        """A class before the mixin calls super().run() repeatedly."""
        case = type("Case", (RetryingRun, Asynchronous), {})("talks")
        case.run()
        self.assertEqual([Outcome(result).kinds for result in case.results], [[], ["failure"], []])

    def test_retry_in_a_base_class_behind_the_mixin(self) -> None:
        """A base class that the mixin's `run` calls runs the test repeatedly."""
        for mixin in (MockTCPServerMixin, ThreadedMockTCPServerMixin):
            with self.subTest(mixin=mixin.__name__):
                case: Any = type("Case", (mixin, RetryingRun), {"talks": Asynchronous.talks, "talk": Asynchronous.talk,
                                                                "tcpserver_options": quick})("talks")
                case.run()
                self.assertEqual([Outcome(result).kinds for result in case.results], [[], ["failure"], []])

    def test_expected_failure(self) -> None:
        """A failure that was expected in one run says nothing about the next."""
        for case in (Asynchronous("fails_as_expected"), Threaded("fails_as_expected"),
                     InLoop("fails_as_expected")):
            with self.subTest(case=type(case).__name__):
                kinds = self.outcomes(case, b"PUNG\r\n", b"PING\r\n", b"PUNG\r\n")
                self.assertEqual(kinds, [["expected failure"], ["unexpected success"], ["expected failure"]])

    def test_subtests(self) -> None:
        """What a subtest has reported in one run is reported in the next as well."""
        for case in (Asynchronous("with_subtests"), Threaded("with_subtests"),
                     InLoop("with_subtests")):
            with self.subTest(case=type(case).__name__):
                kinds = self.outcomes(case, b"PUNG\r\n", b"PUNG\r\n", b"PING\r\n")
                self.assertTrue(kinds[0])
                self.assertEqual(kinds, [kinds[0], kinds[0], []])

    def test_context(self) -> None:
        """Each run begins with the context of the first."""
        case = Asynchronous("begins_with_the_same_context")
        self.assertEqual(self.outcomes(case, b"", b""), [[], []])

    def test_debug_and_run(self) -> None:
        """A test that was run by debug() can be run."""
        case = Asynchronous("talks")
        case.data = b"PUNG\r\n"
        with self.assertRaisesRegex(AssertionError, "got b'PUNG'"):
            case.debug()
        case._cleanups.clear()
        self.assertEqual(self.outcomes(case, b"PING\r\n"), [[]])

    def test_run_after_ctrl_c(self) -> None:
        """Ctrl-C leaves no server behind, and no verdict for the next run."""
        for case in Threaded("is_interrupted_by_the_user"), Asynchronous("is_interrupted_by_the_user"):
            with self.subTest(case=type(case).__name__):
                with self.assertRaises(KeyboardInterrupt):
                    self.outcomes(case, b"Ctrl-C")
                self.assertTrue(case.tcpserver.closed)
                self.assertEqual(self.outcomes(case, b"PING\r\n", b"PUNG\r\n"), [[], ["failure"]])

    @unittest.skipUnless(__debug__, "unittest tells it by an assertion, which python -O leaves out")
    def test_run_inside_of_a_run(self) -> None:
        """A test that runs itself is unittest's error, as without the mixin."""
        async def test(self: Any) -> None:
            self.run(unittest.TestResult())
        case = type("Case", (MockTCPServerMixin, unittest.IsolatedAsyncioTestCase), {"test": test})("test")
        result = unittest.TestResult()
        case.run(result)
        self.assertIn("already initialized", result.failures[0][1])


if __name__ == "__main__":
    unittest.main()
