"""Ctrl-C at any moment of a threaded server's life passes untouched, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import unittest
from unittest import mock

from tcpclient_testing import ThreadedMockTCPServer, ThreadedMockTCPServerMixin
from tests.support.blocking import connect, descriptors, threads
from tests.support.greetings import greet, script_greeting
from tests.support.interrupts import lines_that_leave_something
from tests.support.long import LONG, lasting
from tests.support.platforms import needs_proc


def with_block() -> None:
    """A server in a `with` block, and a client that keeps to its script."""
    with ThreadedMockTCPServer() as server:
        script_greeting(server)
        greet(server.address)
        server.join()


def start_and_stop() -> None:
    """A server that is started and stopped."""
    server = ThreadedMockTCPServer()
    try:
        server.start()
        server.expect_connect().connection.expect_disconnect()
        connect(server.address).close()
    finally:
        server.stop()


def start_and_close() -> None:
    """A server that is closed without a verdict."""
    server = ThreadedMockTCPServer()
    try:
        server.start().expect_connect()
        server.close()
    finally:
        server.close()


def start_and_clear() -> None:
    """A server that is cleared between two scripts."""
    server = ThreadedMockTCPServer()
    try:
        server.start()
        for _ in range(2):
            script_greeting(server)
            greet(server.address)
            server.clear()
    finally:
        server.stop()


def test_case() -> None:
    """A test case with the mixin."""
    class Case(ThreadedMockTCPServerMixin, unittest.TestCase):
        def test(self) -> None:
            script_greeting(self.tcpserver)
            greet(self.tcpserver.address)

    Case("test").run()


@needs_proc
class EveryLineTests(unittest.TestCase):
    """KeyboardInterrupt in each line of the library that the main thread runs."""

    @lasting
    def test_with(self) -> None:
        """In the constructor, `with`, steps, join(), and at the end of the block."""
        self.assertEqual(lines_that_leave_something(with_block, step=5), [])

    @lasting
    def test_start_and_stop(self) -> None:
        """In start() and stop()."""
        self.assertEqual(lines_that_leave_something(start_and_stop, step=5), [])

    def test_close(self) -> None:
        """In close()."""
        self.assertEqual(lines_that_leave_something(start_and_close, step=5), [])

    @lasting
    def test_clear(self) -> None:
        """In clear()."""
        self.assertEqual(lines_that_leave_something(start_and_clear, step=5), [])

    @lasting
    def test_mixin(self) -> None:
        """In a test case: unittest then leaves out the clean-ups."""
        self.assertEqual(lines_that_leave_something(test_case, step=9), [])


@needs_proc
@unittest.skipUnless(hasattr(signal, "setitimer"), "needs timers that send signals")
class SignalTests(unittest.TestCase):
    """A real signal, after a random time."""

    def test_start(self) -> None:
        """It may come anywhere, also in code of the standard library."""
        armed: list[bool] = []

        def interrupt(*_: object) -> None:
            if armed:
                armed.clear()
                raise KeyboardInterrupt

        previous = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, previous)
        # In the callback of a weak reference Python drops what is raised, and tells of it.
        told = mock.patch.object(sys, "unraisablehook", lambda _: None)
        told.start()
        self.addCleanup(told.stop)
        before = descriptors(), threads()
        for number in range(1000 if LONG else 40):
            server = ThreadedMockTCPServer()
            with contextlib.suppress(KeyboardInterrupt):
                armed.append(True)
                signal.setitimer(signal.ITIMER_REAL, 0.00002 * (number % 40 + 1))
                server.start()
                armed.clear()
            signal.setitimer(signal.ITIMER_REAL, 0)
            server.close()
        self.assertEqual((descriptors(), threads()), before)


@unittest.skipIf(sys.version_info < (3, 11), "before 3.11, asyncio.run() leaves SIGINT alone")
class RunnerTests(unittest.TestCase):
    """asyncio.run() cancels the test's task on Ctrl-C, and raises KeyboardInterrupt in the end."""

    def test_client_closes_on_the_way_out(self) -> None:
        """That fails the script, as a consequence of Ctrl-C: the verdict does not take its place."""
        async def main() -> None:
            async with ThreadedMockTCPServer() as server:
                server.expect_connect()
                server.expect_line(b"hello")
                _, writer = await asyncio.open_connection(*server.address)
                try:
                    os.kill(os.getpid(), signal.SIGINT)
                    await asyncio.sleep(30)
                finally:
                    writer.close()
                    await writer.wait_closed()
                    while server._judgement.failed_at() == float("inf"):
                        await asyncio.sleep(0.001)

        previous = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, previous)
        with self.assertRaises(KeyboardInterrupt):
            asyncio.run(main())
