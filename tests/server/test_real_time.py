"""Tests of the bound on real time: on virtual time a failing test ends in seconds, whatever timers tick."""

from __future__ import annotations

import asyncio
import time
import unittest
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.server import real_time
from tcpclient_testing.virtual_time.clock import DEFAULT_GRACE
from tests.support.long import LONG, lasting
from tests.support.virtual import HOUR, run_on_virtual_time

TICK = 0.01  # virtual seconds: a client that polls runs through a day in 8.6 million turns


async def poll(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A client that waits for something that never comes, as many do."""
    while True:
        await asyncio.sleep(TICK)


async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A client that only reads."""
    while await reader.read(1000):
        pass


async def beat(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A client that does nothing but send heartbeats."""
    while not writer.is_closing():
        writer.write(b"PING\r\n")
        await asyncio.sleep(TICK)


def greeting(server: MockTCPServer) -> None:
    """The script of a client that says hello, which none of these does."""
    server.expect_connect()
    server.expect_line(b"HELLO")


def with_heartbeats(server: MockTCPServer) -> None:
    """The server sends heartbeats of its own."""
    server.expect_connect()
    server.every(TICK, b"ping\r\n")
    server.expect_line(b"HELLO")


def with_allowed(server: MockTCPServer) -> None:
    """The client may send heartbeats."""
    server.expect_connect()
    server.allow(b"PING\r\n")
    server.expect_line(b"HELLO")


def complete(server: MockTCPServer) -> None:
    """The script ends, but the client stays connected."""
    server.expect_connect()


async def serve(script: Callable[[MockTCPServer], None], client: Callable[..., Any], **options: Any) -> None:
    """Run a client against a script."""
    async with MockTCPServer(watch_streams=False, **options) as server:
        script(server)
        reader, writer = await asyncio.open_connection(*server.address)
        try:
            await client(reader, writer)
        finally:
            writer.close()


class FailingTests(unittest.TestCase):
    """Tests that would run through a virtual day."""

    def setUp(self) -> None:
        for name, seconds in (("BOUND", 0.1), ("_LOOK", 0.02), ("_LONGEST", 0.05)):
            patch = mock.patch.object(real_time, name, seconds)
            patch.start()
            self.addCleanup(patch.stop)

    def failure_of(self, *args: Any, **options: Any) -> str:
        """Return the report, which must come in seconds."""
        began = time.monotonic()
        with self.assertRaises(ExpectationError) as caught:
            run_on_virtual_time(serve(*args, **options))
        self.assertLess(time.monotonic() - began, 20 + 5000 * DEFAULT_GRACE)
        return str(caught.exception)

    def test_timers_of_the_client_tick(self) -> None:
        """The step is overdue; the report says how much virtual time went by, and how to lift the bound."""
        report = self.failure_of(greeting, poll)
        self.assertRegex(report, r"^expected the line b'HELLO', nothing received for [\d.]+ s "
                                 r"\(connection 1, step 2 of 2, test_real_time\.py:\d+ from test_real_time\.py:\d+\)\n")
        self.assertRegex(report, r"  virtual time\n    [\d.]+ s of it went by in \d+\.\d s of real time, in which "
                                 r"nothing but timers has happened on any connection\n    timeout= .*lifts this bound")

    def test_timers_of_the_script_tick(self) -> None:
        """The server's heartbeats are timers, and so is what the client takes of them."""
        self.assertIn("nothing received for", self.failure_of(with_heartbeats, read))

    def test_heartbeats_are_allowed(self) -> None:
        """What `allow` lets through is the work of timers, too."""
        self.assertIn("lifts this bound", self.failure_of(with_allowed, beat))

    def test_script_is_complete(self) -> None:
        """A client that stays connected, and polls, is idle."""
        report = self.failure_of(complete, poll)
        self.assertIn("the script is complete; the client", report)
        self.assertIn("lifts this bound", report)

    def test_nobody_connects(self) -> None:
        """It holds for a client that never connects."""
        async def main() -> None:
            async with MockTCPServer() as server:
                server.expect_connect()
                while True:
                    await asyncio.sleep(TICK)

        with self.assertRaisesRegex(ExpectationError, "no client connected"):
            run_on_virtual_time(main())

    @unittest.skipUnless(LONG, "takes ten seconds, after which time is real for a task that spins")
    def test_tasks_spin(self) -> None:
        """It holds for a client whose task never waits for a timer at all."""
        async def spin(*_: Any) -> None:
            while True:
                await asyncio.sleep(0)

        self.assertIn("nothing received for", self.failure_of(greeting, spin))

    @unittest.skipIf(DEFAULT_GRACE, "each of thousands of jumps takes a moment here")
    def test_timeout_is_given(self) -> None:
        """The step's own time-out, or the server's, is in virtual seconds, and nothing else counts then."""
        def patient(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_line(b"HELLO", timeout=20)

        for script, options in ((patient, {}), (greeting, {"timeout": 20})):
            with mock.patch.object(real_time, "BOUND", 0.01), mock.patch.object(real_time, "_LOOK", 0.002):
                report = self.failure_of(script, poll, **options)
            self.assertIn("nothing received for 20.0 s", report)
            self.assertNotIn("lifts this bound", report)


class PassingTests(unittest.TestCase):
    """Sound tests that take many hours, or many turns."""

    def test_hours_with_few_timers(self) -> None:
        """A client that is silent for hours, and looks at its clock every ten minutes, may do so."""
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(20 * 6):
                await asyncio.sleep(600)
            writer.write(b"HELLO\r\n")

        def script(server: MockTCPServer) -> None:
            greeting(server)
            server.expect_disconnect()

        loop_time = run_on_virtual_time(self.elapsed(serve(script, slow)))
        self.assertGreaterEqual(loop_time, 20 * HOUR)

    @staticmethod
    async def elapsed(coroutine: Any) -> float:
        """Return how many virtual seconds something takes."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await coroutine
        return loop.time() - began

    @lasting
    def test_conversation_goes_on(self) -> None:
        """What the client sends restarts the bound, however long the whole takes."""
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            began = time.monotonic()
            while time.monotonic() - began < 0.4:
                writer.write(b"more\r\n")
                await asyncio.sleep(TICK)
            writer.write(b"HELLO\r\n")

        def script(server: MockTCPServer) -> None:
            server.expect_connect()
            server.expect_until(b"HELLO\r\n")
            server.expect_disconnect()

        with mock.patch.object(real_time, "BOUND", 0.2), mock.patch.object(real_time, "_LOOK", 0.02):
            run_on_virtual_time(serve(script, talk))

    @lasting
    def test_loop_does_not_turn(self) -> None:
        """A client that computes for a while is not late."""
        async def compute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            time.sleep(0.3)
            await asyncio.sleep(TICK)
            writer.write(b"HELLO\r\n")

        def script(server: MockTCPServer) -> None:
            greeting(server)
            server.expect_disconnect()

        with mock.patch.object(real_time, "BOUND", 0.2), mock.patch.object(real_time, "_LONGEST", 0.05):
            run_on_virtual_time(serve(script, compute))
