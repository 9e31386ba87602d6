"""Test cases without a mixin whose set-up opens servers: what unittest records, and what is left afterwards."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest
import weakref
from typing import Any

from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
from tests.support.collecting import collect
from tests.support.moments import shortened
from tests.support.streams import connect


async def hang(server: MockTCPServer) -> None:
    """The script fails, while the client waits for something else."""
    server.expect_connect()
    server.expect_bytes(b"PING")
    _, writer = await connect(server)
    try:
        writer.write(b"PUNG")
        await asyncio.sleep(60)
    finally:
        writer.close()


class Opens(unittest.IsolatedAsyncioTestCase):
    """A case with two servers; none is run by itself."""

    async def asyncSetUp(self) -> None:
        """Open them on a stack."""
        stack = contextlib.AsyncExitStack()
        self.addAsyncCleanup(stack.aclose)
        self.server = await stack.enter_async_context(MockTCPServer())
        self.other = await stack.enter_async_context(MockTCPServer())


class Blocks(unittest.TestCase):
    """A case with a server in a thread."""

    def setUp(self) -> None:
        """Start it."""
        self.server = ThreadedMockTCPServer().start()
        self.addCleanup(self.server.stop)

    def fail_once(self) -> None:
        """The client gets a reset, as the script has failed."""
        self.server.expect_connect()
        self.server.expect_bytes(b"PING")
        with socket.create_connection(self.server.address) as client:
            client.sendall(b"PUNG")
            client.recv(10)


#: What a report of `hang` says.
VERDICT = "ExpectationError: expected b'PING', got b'PUNG' at byte 1 (connection 1, step 2 of 2, test_cases.py:"


class CaseTests(unittest.TestCase):
    """Each test runs a case, and looks at what was recorded."""

    def reports(self, base: type[Any], **methods: Any) -> list[str]:
        """Run a case with these methods; return the texts of its reports."""
        made = type("Case", (base,), {"test": base.fail, **methods})
        self.result = unittest.TestResult()
        with shortened():
            made("test").run(self.result)
        return [text for _, text in self.result.errors + self.result.failures]

    def assert_one_verdict(self, reports: list[str]) -> None:
        """There is one, and no line of the library in it."""
        self.assertEqual(len(reports), 1, reports)
        self.assertIn(VERDICT, reports[0])
        self.assertNotIn("harness", reports[0])

    def test_body_is_interrupted(self) -> None:
        """The other server says nothing, although its script is undone."""
        async def test(case: Any) -> None:
            case.other.expect_connect()
            await hang(case.server)
        self.assert_one_verdict(self.reports(Opens, test=test))

    def test_set_up_is_interrupted(self) -> None:
        """The verdict stands for the set-up."""
        async def set_up(case: Any) -> None:
            await Opens.asyncSetUp(case)
            await hang(case.server)
        self.assert_one_verdict(self.reports(Opens, asyncSetUp=set_up))

    def test_body_with_a_server_for_its_clean_ups_is_interrupted(self) -> None:
        """What the interrupted test raises is not recorded."""
        async def test(case: Any) -> None:
            stack = contextlib.AsyncExitStack()
            case.addAsyncCleanup(stack.aclose)
            await hang(await stack.enter_async_context(MockTCPServer()))
        self.assert_one_verdict(self.reports(unittest.IsolatedAsyncioTestCase, test=test))

    def test_first_of_two_verdicts_in_a_clean_up(self) -> None:
        """Both scripts are undone; one report says so."""
        async def test(case: Any) -> None:
            case.server.expect_connect(timeout=0.02)
            case.other.expect_connect(timeout=0.02)
        reports = self.reports(Opens, test=test)
        self.assertEqual(len(reports), 1, reports)
        self.assertIn("no client connected", reports[0])

    def test_error_of_the_set_up(self) -> None:
        """It stands, and nobody waits for the script."""
        async def set_up(case: Any) -> None:
            await Opens.asyncSetUp(case)
            case.server.expect_connect()
            raise LookupError("the set-up's own")
        reports = self.reports(Opens, asyncSetUp=set_up)
        self.assertEqual(len(reports), 1, reports)
        self.assertIn("the set-up's own", reports[0])

    def test_error_of_the_tear_down_after_the_failure(self) -> None:
        """It is a consequence."""
        async def tear_down(_: Any) -> None:
            raise ConnectionError("gone")

        async def test(case: Any) -> None:
            await hang(case.server)
        self.assert_one_verdict(self.reports(Opens, test=test, asyncTearDown=tear_down))

    def test_same_case_again(self) -> None:
        """The second run has servers of its own, and the case keeps none of the wrappers of the first."""
        case = type("Case", (Blocks,), {"test": Blocks.fail_once})("test")
        for _ in range(2):
            result = unittest.TestResult()
            case.run(result)
            self.assertEqual(len(result.failures), 1)
            self.assertEqual(result.errors, [])

    def test_nothing_is_kept_alive(self) -> None:
        """The case is garbage after its run, and so is the server."""
        case: Any = type("Case", (Blocks,), {"test": Blocks.fail_once})("test")
        case.run(unittest.TestResult())
        kept = weakref.ref(case), weakref.ref(case.server)
        del case
        collect(cycles=True)
        self.assertEqual([each() for each in kept], [None, None])

    def test_result_that_a_test_asks_for(self) -> None:
        """A test that looks at its result while it runs finds what it knows."""
        seen: list[Any] = []

        def test(case: Any) -> None:
            seen.append(getattr(case._outcome, "result", self.result))
            seen.append(seen[0].testsRun)
        self.assertEqual(self.reports(Blocks, test=test), [])
        self.assertEqual(seen[1], 1)


if __name__ == "__main__":
    unittest.main()
