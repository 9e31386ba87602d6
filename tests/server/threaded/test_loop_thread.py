"""Tests of callables that block the thread of their server: the test ends, and the report names their line."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
import threading
import time
import unittest
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, ThreadedMockTCPServer, ThreadedMockTCPServerMixin
from tcpclient_testing.aio.guards import thread_guard
from tcpclient_testing.aio.process import watchdog
from tcpclient_testing.matchers import Predicate
from tests.support.blocking import connect, descriptors, eventually, threads
from tests.support.long import lasting
from tests.support.platforms import needs_fine_clock

TIMEOUT = 0.05
PATIENT = 30.0  # for steps, lest they fail before the thread is given up


class Case(unittest.TestCase):
    """Servers whose threads are given up soon."""

    def setUp(self) -> None:
        self.before = threads(), descriptors()
        self.addCleanup(self.assertNothingIsLeft)
        for module, name, value in (thread_guard, "_MORE", 0.0), (watchdog, "_SHORTEST", 0.01), \
                (watchdog, "_WANTED", 0.01), (watchdog, "_AGAIN", 0.01):
            patch = mock.patch.object(module, name, value)
            patch.start()
            self.addCleanup(patch.stop)
        self.release, self.entered = threading.Event(), threading.Event()
        self.addCleanup(self.release.set)

    def assertNothingIsLeft(self) -> None:
        """Assert that each thread ends when its callable returns after all, and closes what it had opened."""
        self.assertTrue(eventually(lambda: (threads(), descriptors()) == self.before))

    def block(self, *_: Any) -> Any:
        """Wait for too long: until the test has ended."""
        self.entered.set()
        self.release.wait(60)
        return b"too late"

    def server(self, **options: Any) -> ThreadedMockTCPServer:
        """Make a server. asyncio says nothing of what blocks it on purpose."""
        return quiet(ThreadedMockTCPServer(**{"timeout": TIMEOUT, **options}).start())

    def assertBlocked(self, error: BaseException, line: str = "self.release.wait(60)") -> None:
        """Assert that this is the verdict, and names the line."""
        self.assertIsInstance(error, ExpectationError)
        self.assertRegex(str(error).partition("\n")[0],
                         r"^the server's thread is blocked at test_loop_thread.py:\d+ \(.*must not wait$")
        self.assertIn(f"({line})", str(error))


def quiet(server: ThreadedMockTCPServer) -> ThreadedMockTCPServer:
    """Let asyncio say nothing of what blocks it on purpose."""
    server._thread.loop.slow_callback_duration = 60
    return server


def connects(server: Any) -> None:
    """The script begins."""
    server.expect_connect(timeout=PATIENT)


class KindTests(Case):
    """Each function of the test that the server calls."""

    def asked(self, write: Callable[[Any], object], **options: Any) -> ExpectationError:
        """Return the report on a client that asks, and waits for ever."""
        with self.assertRaises(ExpectationError) as caught, self.server(**options) as server:
            write(server)
            with connect(server.address, None) as client:
                client.sendall(b"PING\r\n")
                while client.recv(1):
                    pass
        return caught.exception

    def test_callable_that_makes_a_reply(self) -> None:
        """Its line is named, and the client, which would wait for ever, is freed."""
        error = self.asked(lambda server: (connects(server), server.expect_line(timeout=PATIENT),
                                           server.send_line(self.block)))
        self.assertBlocked(error)
        self.assertIsInstance(error.client_exception, ConnectionResetError)

    @lasting
    def test_other_callables(self) -> None:
        """So are those of predicates, lengths, coroutine functions and handlers."""
        async def coroutine(_: Any) -> bytes:
            return bytes(self.block())

        async def handler(connection: Any) -> None:
            await connection.expect_line(timeout=PATIENT)
            self.block()

        writes: dict[str, Callable[[Any], object]] = {
            "predicate": lambda server: (connects(server), server.expect_line(Predicate(self.block), timeout=PATIENT)),
            "length": lambda server: (connects(server), server.expect_line(timeout=PATIENT),
                                      server.expect_exactly(self.block, timeout=PATIENT)),
            "coroutine": lambda server: (connects(server), server.expect_line(timeout=PATIENT),
                                         server.send_bytes(coroutine)),
            "allowed": lambda server: (connects(server), server.allow(b"PING\r\n", reply=self.block),
                                       server.expect_line(b"QUIT", timeout=PATIENT))}
        for name, write in writes.items():
            with self.subTest(name):
                self.assertBlocked(self.asked(write))
        self.assertBlocked(self.asked(lambda server: None, handler=handler))

    def test_slow_callable(self) -> None:
        """One that returns within the time-out passes."""
        def reply(_: bytes) -> bytes:
            time.sleep(0.1)
            return b"PONG"
        with self.server(timeout=2.0) as server:
            connects(server)
            server.expect_line()
            server.send_line(reply)
            server.expect_disconnect()
            with connect(server.address) as client:
                client.sendall(b"PING\r\n")
                self.assertEqual(client.recv(6), b"PONG\r\n")

    @lasting
    def test_computing_callable(self) -> None:
        """One that computes is left alone."""
        def compute(_: bytes) -> bytes:
            deadline = time.monotonic() + 4 * TIMEOUT
            while time.monotonic() < deadline:
                sum(range(1000))
            return b"PONG"
        with self.server() as server:
            connects(server)
            server.expect_line(timeout=PATIENT)
            server.send_line(compute)
            server.expect_disconnect(timeout=PATIENT)
            with connect(server.address) as client:
                client.sendall(b"PING\r\n")
                self.assertEqual(client.recv(6), b"PONG\r\n")


class WaitTests(Case):
    """What the test waits for while the thread is blocked."""

    def blocked(self) -> ThreadedMockTCPServer:
        """Return a server whose thread is blocked."""
        self.entered.clear()
        server = self.server()
        connects(server)
        server.send_bytes(self.block)
        client = connect(server.address)
        self.addCleanup(client.close)
        self.assertTrue(self.entered.wait(20))
        return server

    def assertRaisesBlocked(self, function: Callable[[], object]) -> None:
        """Assert that this raises the verdict."""
        with self.assertRaises(ExpectationError) as caught:
            function()
        self.assertBlocked(caught.exception)

    @lasting
    def test_calls_of_the_server(self) -> None:
        """Each call gets the verdict: join, results, new steps, stop; afterwards the server is closed."""
        for call in (lambda server: server.join(), lambda server: server.expect_line().result(),
                     lambda server: server.expect_disconnect(), lambda server: server.stop()):
            server = self.blocked()
            with self.subTest(call):
                self.assertRaisesBlocked(lambda server=server, call=call: call(server))
            server.close()
            self.assertTrue(server.closed)

    @needs_fine_clock
    def test_wait_with_a_time_out(self) -> None:
        """A wait of the test's own that was over before is a consequence."""
        with self.assertRaises(ExpectationError) as caught, self.blocked() as server:
            server.join(0.001)
        self.assertBlocked(caught.exception)
        self.assertIsInstance(caught.exception.client_exception, TimeoutError)

    def test_nothing_is_listening_afterwards(self) -> None:
        """A client that comes later is refused."""
        server = self.blocked()
        self.assertRaisesBlocked(server.join)
        self.assertRaises(ConnectionRefusedError, connect, server.address)
        self.assertRaisesBlocked(server.stop)

    @lasting
    def test_without_a_watchdog(self) -> None:
        """Where the watchdog is switched off, those who wait notice it."""
        with mock.patch.dict(os.environ, TCPCLIENT_TESTING_WATCHDOG="0"):
            server = self.blocked()
        server._thread._patience = 0.05
        self.assertRaisesBlocked(server.join)
        self.assertRaisesBlocked(server.stop)
        with mock.patch.dict(os.environ, TCPCLIENT_TESTING_WATCHDOG="0"), \
                mock.patch("tcpclient_testing.server.threaded.loop_thread._PATIENCE", 0.0):
            server = self.blocked()
            server._thread._patience = 0.05
            self.assertRaisesBlocked(server.close)

    def test_report_of_a_test_case(self) -> None:
        """A test case reports it once, as its failure, and the next test is none the worse for it."""
        outer = self

        class Tests(ThreadedMockTCPServerMixin, unittest.TestCase):
            tcpserver_options = {"timeout": TIMEOUT}

            def test_1(self) -> None:
                """A callable blocks."""
                quiet(self.tcpserver)
                connects(self.tcpserver)
                self.tcpserver.send_bytes(outer.block)
                with connect(self.tcpserver.address) as client:
                    client.recv(1)

            def test_2(self) -> None:
                """All is well."""
                connects(self.tcpserver)
                self.tcpserver.expect_disconnect(timeout=PATIENT)
                connect(self.tcpserver.address).close()

        result = unittest.TestResult()
        unittest.defaultTestLoader.loadTestsFromTestCase(Tests).run(result)
        self.assertEqual(result.errors, [])
        ((test, report),) = result.failures
        self.assertIn("test_1", str(test))
        self.assertIn("the server's thread is blocked at", report)

    @lasting
    def test_asynchronous_test(self) -> None:
        """An asynchronous test is interrupted."""
        async def main() -> None:
            async with self.server() as server:
                connects(server)
                server.send_bytes(self.block)
                _, writer = await asyncio.open_connection(*server.address)
                try:
                    await asyncio.Event().wait()
                finally:
                    writer.close()
        with self.assertRaises(ExpectationError) as caught:
            asyncio.run(main())
        self.assertBlocked(caught.exception)


class ExitTests(unittest.TestCase):
    """The interpreter's exit."""

    PROGRAM = """
import socket, sys, time
from tcpclient_testing import ThreadedMockTCPServer
from tcpclient_testing.server.threaded import loop_thread
loop_thread._PATIENCE = 0.0
server = ThreadedMockTCPServer(timeout=0.05).start()
server._thread._patience = 0.05
server.expect_connect(timeout=30)
server.send_bytes(lambda _: print("blocks", flush=True) or time.sleep(3600))
client = socket.create_connection(server.address)
"""

    @lasting
    def test_exit_when_a_callable_blocks(self) -> None:
        """The interpreter ends, and says which callable has blocked, though nobody has left the server."""
        with subprocess.Popen([sys.executable, "-c", self.PROGRAM + "input()"], stdin=subprocess.PIPE, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=pathlib.Path(__file__).parents[3]) as process:
            assert process.stdout is not None
            self.assertEqual(process.stdout.readline(), "blocks\n")
            _, errors = process.communicate("\n", timeout=20)
        self.assertEqual(process.returncode, 0)
        self.assertIn("the server's thread is blocked at <string>:", errors)


class WindingUpTests(unittest.TestCase):
    """What is in the loop when the server is closed."""

    def test_tasks_of_the_last_turns(self) -> None:
        """A task that is made while the loop ends, here by a generator's `finally`, is cancelled, and not left."""
        made: list[Any] = []

        async def generate() -> Any:
            try:
                yield b"PONG\r\n"
            finally:
                made.append(asyncio.get_running_loop().create_task(asyncio.Event().wait()))

        async def reply(_: Any) -> Any:
            made.append(generate())
            return await made[0].__anext__()

        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.send_bytes(reply)
            server.expect_disconnect()
            with connect(server.address) as client:
                self.assertEqual(client.recv(6), b"PONG\r\n")
        self.assertTrue(made[1].cancelled())


if __name__ == "__main__":
    unittest.main()
