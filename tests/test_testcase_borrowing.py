"""Test cases that share a server: each test has its own verdict."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest
from typing import Any, ClassVar, Optional

from tcpclient_testing import ScriptError, ThreadedMockTCPServer, ThreadedMockTCPServerMixin


def go(server: ThreadedMockTCPServer, data: bytes = b"PING") -> None:
    """Let a client ask, and hold it against the script."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()
    with socket.create_connection(server.address, 20) as client, contextlib.suppress(ConnectionError):
        client.sendall(data + b"\r\n")
        client.recv(10)


class Series:
    """Tests of which some are guilty, in the order of their names."""

    server: ThreadedMockTCPServer

    def test_1_sound(self) -> None:
        """It passes."""
        go(self.server)

    def test_2_wrong_byte(self) -> None:
        """It fails."""
        go(self.server, b"PUNG")

    def test_3_sound(self) -> None:
        """It passes."""
        go(self.server)

    def test_4_unknown_client(self) -> None:
        """It fails."""
        socket.create_connection(self.server.address, 20).close()

    def test_5_sound(self) -> None:
        """It passes."""
        go(self.server)


def reports_of(case: type[unittest.TestCase]) -> list[tuple[str, str]]:
    """Run the tests of a class. Return the method and the last line of each report."""
    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(case).run(result)
    return [(test.id().rpartition(".")[2], text) for test, text in result.errors + result.failures]


class SharingTests(unittest.TestCase):
    """Without the mixin, and with it."""

    def assert_guilty_fail(self, case: type[unittest.TestCase]) -> None:
        """The guilty tests have one report each, which says what was wrong, and the others pass."""
        reports = reports_of(case)
        self.assertEqual([name for name, _ in reports], ["test_2_wrong_byte", "test_4_unknown_client"], reports)
        self.assertIn("expected b'PING', got b'PUNG", reports[0][1])
        self.assertIn("ExpectationError: unexpected connection 1: the script has no expect_connect()\n", reports[1][1])

    def test_clean_up(self) -> None:
        """``self.addCleanup(server.clear)`` in setUp, and a server of setUpClass."""
        class Case(Series, unittest.TestCase):
            @classmethod
            def setUpClass(cls) -> None:
                cls.server = ThreadedMockTCPServer().start()
                cls.addClassCleanup(cls.server.stop)

            def setUp(self) -> None:
                self.addCleanup(self.server.clear)
        self.assert_guilty_fail(Case)
        self.assertTrue(Case.server.closed)

    def test_asynchronous_clean_up(self) -> None:
        """The same where each test has a loop of its own."""
        class Case(Series, unittest.IsolatedAsyncioTestCase):
            @classmethod
            def setUpClass(cls) -> None:
                cls.server = ThreadedMockTCPServer().start()
                cls.addClassCleanup(cls.server.stop)

            async def asyncSetUp(self) -> None:
                async def clear() -> None:
                    await self.server.clear()
                self.addAsyncCleanup(clear)

            async def test_6_in_the_loop(self) -> None:
                """It passes."""
                self.server.expect_connect()
                self.server.expect_disconnect()
                _, writer = await asyncio.open_connection(*self.server.address)
                writer.close()
                await writer.wait_closed()
        self.assert_guilty_fail(Case)

    def test_mixin(self) -> None:
        """The mixin judges a borrowed server as it does its own, and clears it."""
        class Case(Series, ThreadedMockTCPServerMixin, unittest.TestCase):
            shared: ClassVar[Optional[ThreadedMockTCPServer]] = None

            @classmethod
            def setUpClass(cls) -> None:
                cls.shared = ThreadedMockTCPServer().start()
                cls.addClassCleanup(cls.shared.stop)

            def setUp(self) -> None:
                assert self.shared is not None
                self.server = self.borrow_tcpserver(self.shared)

            def test_6_both(self) -> None:
                """It passes, with a server of its own beside the borrowed one."""
                go(self.server)
                go(self.tcpserver)

            @unittest.expectedFailure
            def test_7_expected(self) -> None:
                """It fails as expected."""
                go(self.server, b"PUNG")
        self.assert_guilty_fail(Case)
        assert Case.shared is not None
        self.assertTrue(Case.shared.closed)

    def test_what_came_between_two_tests(self) -> None:
        """It belongs to none of them."""
        server = ThreadedMockTCPServer().start()
        self.addCleanup(server.stop)
        stray = socket.create_connection(server.address, 20)
        self.addCleanup(stray.close)
        stray.sendall(b"PUNG\r\n")

        class Case(ThreadedMockTCPServerMixin, unittest.TestCase):
            def test_sound(self) -> None:
                """It passes."""
                go(self.borrow_tcpserver(server))
        self.assertEqual(reports_of(Case), [])

    def test_server_that_does_not_run(self) -> None:
        """It can't be borrowed."""
        errors: list[Any] = []

        class Case(ThreadedMockTCPServerMixin, unittest.TestCase):
            def test_borrowing(self) -> None:
                """It notes the error."""
                for server, text in ((ThreadedMockTCPServer(), "the server was not started"), (stopped, "was stopped")):
                    with self.assertRaisesRegex(ScriptError, text) as caught:
                        self.borrow_tcpserver(server)
                    errors.append(caught.exception)
        stopped = ThreadedMockTCPServer().start()
        stopped.stop()
        self.assertEqual(reports_of(Case), [])
        self.assertEqual(len(errors), 2)
