"""Which test a server belongs to, by the place where it is opened."""

from __future__ import annotations

import asyncio
import contextlib
import unittest
import weakref
from typing import Any, Optional

from tcpclient_testing import MockTCPServer, MockTCPServerMixin, ThreadedMockTCPServer
from tcpclient_testing.harness.adopting.owners import opening_for
from tcpclient_testing.harness.servers import ServersOfTest, owner_of
from tests.support.collecting import collect


class OwnerTests(unittest.TestCase):
    """Each test runs a case that opens a server in some place, and says who owned it."""

    def setUp(self) -> None:
        """Nobody yet."""
        self.owner: Optional[ServersOfTest] = None
        self.case: Any = None

    def found(self, server: Any) -> None:
        """Keep the owner of a server."""
        self.owner = owner_of(server._judgement)

    def run_case(self, *bases: type, **methods: Any) -> None:
        """Run a test case with these methods."""
        self.case = type("Case", bases, {"test": lambda _: None, **methods})("test")
        result = unittest.TestResult()
        self.case.run(result)
        self.assertTrue(result.wasSuccessful(), result.errors + result.failures)

    def opens(self) -> Any:
        """Return a method that opens a server on a stack, which a clean-up closes."""
        async def open_it(case: Any) -> None:
            stack = contextlib.AsyncExitStack()
            case.addAsyncCleanup(stack.aclose)
            self.found(await stack.enter_async_context(MockTCPServer()))
        return open_it

    def test_set_up(self) -> None:
        """The test whose set-up it is."""
        self.run_case(unittest.IsolatedAsyncioTestCase, asyncSetUp=self.opens())
        self.assertIsNotNone(self.owner)

    def test_set_up_of_a_mixin(self) -> None:
        """The servers of the mixin have one more."""
        self.run_case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase, asyncSetUp=self.opens())
        self.assertIs(self.owner, self.case._tcpservers)

    def test_body_that_leaves_it_to_a_clean_up(self) -> None:
        """The test."""
        self.run_case(unittest.IsolatedAsyncioTestCase, test=self.opens())
        self.assertIsNotNone(self.owner)

    def test_block_in_the_body(self) -> None:
        """The block knows the body by itself."""
        async def body(_: Any) -> None:
            async with MockTCPServer() as server:
                self.found(server)
        self.run_case(unittest.IsolatedAsyncioTestCase, test=body)
        self.assertIsNone(self.owner)

    def test_task_in_the_background(self) -> None:
        """It is no part of the test."""
        opens = self.opens()

        async def work(case: Any) -> None:
            await opens(case)

        async def set_up(case: Any) -> None:
            await asyncio.ensure_future(work(case))
        self.run_case(unittest.IsolatedAsyncioTestCase, asyncSetUp=set_up)
        self.assertIsNone(self.owner)

    def test_set_up_of_a_class(self) -> None:
        """No test, also if a test runs the suite."""
        def set_up_class(cls: type[unittest.TestCase]) -> None:
            server = ThreadedMockTCPServer().start()
            cls.addClassCleanup(server.stop)
            self.found(server)
        made = type("Case", (unittest.TestCase,), {"test": lambda _: None, "setUpClass": classmethod(set_up_class)})
        result = unittest.TestResult()
        unittest.TestSuite([made("test")]).run(result)
        self.assertTrue(result.wasSuccessful(), result.errors)
        self.assertIsNone(self.owner)

    def test_announced_owner(self) -> None:
        """A framework says for whom it sets up; the innermost counts."""
        outer, inner = ServersOfTest(), ServersOfTest()
        with opening_for(outer), opening_for(inner), ThreadedMockTCPServer() as server:
            self.found(server)
        self.assertIs(self.owner, inner)

    def test_owner_is_not_kept_alive(self) -> None:
        """When the test is gone, the server belongs to nobody."""
        servers = ServersOfTest()
        server = ThreadedMockTCPServer()
        self.addCleanup(server.stop)
        with opening_for(servers):
            server.start()
        self.assertIsNotNone(owner_of(server._judgement))
        kept = weakref.ref(servers)
        del servers
        collect(cycles=True)
        self.assertIsNone(kept())
        self.assertIsNone(owner_of(server._judgement))


if __name__ == "__main__":
    unittest.main()
