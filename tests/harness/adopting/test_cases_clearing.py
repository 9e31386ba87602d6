"""Test cases without a mixin that clear the server of their set-up, share it, or forget it."""

from __future__ import annotations

import contextlib
import unittest
import warnings
from typing import Any, Optional

from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
from tests.harness.adopting.test_cases import VERDICT, Opens, hang
from tests.support.clearing import ask, exchange
from tests.support.collecting import collect
from tests.support.moments import shortened


class Shares(unittest.TestCase):
    """The first test starts a server, and each test clears it."""

    server: Optional[ThreadedMockTCPServer] = None

    def setUp(self) -> None:
        """Start it, or take it."""
        if Shares.server is None:
            Shares.server = ThreadedMockTCPServer().start()
        self.addCleanup(Shares.server.clear)


def reports(base: type[Any], test: Any) -> list[str]:
    """Run a case with this test; return the texts of its reports."""
    result = unittest.TestResult()
    with shortened():
        type("Case", (base,), {"test": test})("test").run(result)
    return [text for _, text in result.errors + result.failures]


class ClearingTests(unittest.TestCase):
    """Each test runs cases, and looks at what was recorded."""

    def test_each_test_has_its_own_verdict(self) -> None:
        """The server does not belong to the first test for ever: each that leaves its script undone fails, once."""
        def undone(_: Any) -> None:
            assert Shares.server is not None
            Shares.server.expect_connect(timeout=0.02)
        try:
            for test in undone, undone, lambda _: None, undone:
                found = reports(Shares, test)
                self.assertEqual(len(found), 1 if test is undone else 0, found)
        finally:
            assert Shares.server is not None
            Shares.server.stop()
            Shares.server = None

    def test_body_is_interrupted_after_clearing(self) -> None:
        """The new script, too, belongs to the test."""
        async def test(case: Any) -> None:
            for _ in range(2):
                exchange(case.server)
                await ask(case.server)
                await case.server.clear()
            await hang(case.server)
        found = reports(Opens, test)
        self.assertEqual(len(found), 1, found)
        self.assertIn(VERDICT, found[0])

    def test_clearing_in_the_set_up(self) -> None:
        """The test belongs to the new script from the beginning."""
        class Clears(Opens):
            async def asyncSetUp(self) -> None:
                await super().asyncSetUp()
                await self.server.clear()

        async def test(case: Any) -> None:
            await hang(case.server)
        found = reports(Clears, test)
        self.assertEqual(len(found), 1, found)
        self.assertIn(VERDICT, found[0])

    def test_forgotten_server(self) -> None:
        """It is collected when the test is over, although unittest has kept the case."""
        class Forgets(unittest.IsolatedAsyncioTestCase):
            async def asyncSetUp(self) -> None:
                await MockTCPServer().start()

            async def test(self) -> None:
                """Nothing stops the server."""
        case = Forgets("test")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            case.run(unittest.TestResult())
            collect(cycles=True)
        self.assertEqual(len([each for each in caught if "never stopped" in str(each.message)]), 1)
        del case

    def test_server_of_a_clean_up_in_a_block(self) -> None:
        """A body that clears a server that it has opened on a stack is interrupted, too."""
        async def test(case: Any) -> None:
            stack = contextlib.AsyncExitStack()
            case.addAsyncCleanup(stack.aclose)
            server = await stack.enter_async_context(MockTCPServer())
            await server.clear()
            await hang(server)
        found = reports(unittest.IsolatedAsyncioTestCase, test)
        self.assertEqual(len(found), 1, found)


if __name__ == "__main__":
    unittest.main()
