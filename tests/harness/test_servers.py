"""Several servers in one test: the one towards which the client misbehaved is reported, not the one that waits."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import unittest
from typing import Any, Callable

from tcpclient_testing import (
    ExpectationError,
    MockTCPServer,
    MockTCPServerMixin,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
)
from tests.support.long import lasting
from tests.support.moments import shortened

_MORE = r"the script is complete, but the client sent 6 more bytes: b'QUIT"
_TWICE = r"unexpected connection 2: the script has one expect_connect\(\) \(test_servers\.py:\d+\)"
_ANOTHER = "another server of this test has waited for the client in vain"
_WAITS = r"expected the line b'STEP', nothing received for 0\.0\d+ s \(connection 1, step 2 of 2, test_servers\.py:"


def asked(server: Any) -> None:
    """Write the script of the server towards which the client misbehaves: a question, an answer."""
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(b"PONG")


def waited(server: Any) -> None:
    """Write the script of the server that waits: for a short time, from the moment when the client has connected."""
    server.expect_connect()
    server.expect_line(b"STEP", timeout=0.02)


class Client:
    """A client of two servers, which asks one, and then connects to the other."""

    def __init__(self, waits: Any, asks: Any) -> None:
        self.to_waits, self.to_asks = waits.address, asks.address

    async def run(self, *, more: bytes = b"", again: bool = False, late: bytes = b"", stuck: bool = False) -> None:
        """Ask one server, send it `more`, or connect `again`; then read from the other one. Send `late` when reset.

        A client that is `stuck` waits for something of its own instead, and must be interrupted.
        """
        streams = [await asyncio.open_connection(*self.to_asks)]
        (reader, writer), = streams
        try:
            writer.write(b"PING\r\n")
            await reader.readline()
            writer.write(more)
            if again:
                streams.append(await asyncio.open_connection(*self.to_asks))
            streams.append(await asyncio.open_connection(*self.to_waits))
            waits = streams[-1][0]
            try:
                await (asyncio.Event().wait() if stuck else waits.read())
            finally:
                writer.write(late)
        finally:
            for _, writer in streams:
                writer.close()

    def run_blocking(self, *, more: bytes = b"") -> None:
        """The same with sockets that block."""
        with socket.create_connection(self.to_asks) as asks:
            asks.sendall(b"PING\r\n")
            asks.recv(100)
            asks.sendall(more)
            with socket.create_connection(self.to_waits) as waits:
                waits.recv(100)


def outcome_of(case: unittest.TestCase) -> str:
    """Run a test, and return its one report."""
    result = unittest.TestResult()
    case.run(result)
    (_, report), = result.failures + result.errors
    return report


def shorten(case: unittest.TestCase) -> None:
    """Shorten how long the client may go on after the failure."""
    stack = contextlib.ExitStack()
    stack.enter_context(shortened())
    case.addCleanup(stack.close)


def start_both(start: Callable[..., Any], waits_first: bool) -> tuple[Any, Any]:
    """Start the server that waits, and the one that is asked, in this order or the other; write their scripts."""
    servers: dict[bool, Any] = {}
    for waits in (waits_first, not waits_first):
        servers[waits] = start(allow_open=True)
    waited(servers[True])
    asked(servers[False])
    return servers[True], servers[False]


def run_mixin(function: Callable[[Any, Any], Any], waits_first: bool) -> str:
    """Run a test with two servers of `MockTCPServerMixin`, and return its report."""
    class Test(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
        tcpserver_options = {"watch_streams": False}

        async def test(self) -> None:
            await function(*start_both(self.start_tcpserver, waits_first))
    return outcome_of(Test("test"))


def run_threaded_mixin(waits_first: bool, more: bytes) -> str:
    """Run a test with two servers of `ThreadedMockTCPServerMixin`, and return its report."""
    class Test(ThreadedMockTCPServerMixin, unittest.TestCase):
        def test(self) -> None:
            Client(*start_both(self.start_tcpserver, waits_first)).run_blocking(more=more)
    return outcome_of(Test("test"))


class MixinTests(unittest.TestCase):
    """Two servers made by a mixin."""

    def setUp(self) -> None:
        shorten(self)

    def check(self, expected: str, function: Callable[[Any, Any], Any]) -> None:
        """Check the first line of the report, whichever server is made first."""
        for waits_first in (True, False):
            with self.subTest(waits_first=waits_first):
                report = run_mixin(function, waits_first)
                self.assertRegex(report, expected)
                if expected == _TWICE:
                    self.assertIn(_ANOTHER, report)
                if expected == _WAITS:
                    self.assertNotIn(_ANOTHER, report)

    @lasting
    def test_bytes_that_no_step_explains(self) -> None:
        """The client is stuck after a request that is not in the script."""
        for stuck in (False, True):
            self.check(_MORE, lambda waits, asks: Client(waits, asks).run(more=b"QUIT\r\n", stuck=stuck))  # noqa: B023

    def test_connection_that_no_step_explains(self) -> None:
        """The client has connected to the wrong server."""
        self.check(_TWICE, lambda waits, asks: Client(waits, asks).run(again=True))

    def test_body_that_has_ended(self) -> None:
        """The client runs on in a task of its own while the servers are left."""
        async def begin(waits: Any, asks: Any) -> None:
            self.task = asyncio.ensure_future(Client(waits, asks).run(more=b"QUIT\r\n", stuck=True))
            await asyncio.sleep(0)
        self.check(_MORE, begin)

    def test_client_that_is_stuck_by_itself(self) -> None:
        """If nothing is wrong with the other server, the one that waits is reported."""
        self.check(_WAITS, lambda waits, asks: Client(waits, asks).run())

    def test_bytes_after_the_failure(self) -> None:
        """What the client sends because it was reset is a consequence."""
        self.check(_WAITS, lambda waits, asks: Client(waits, asks).run(late=b"QUIT\r\n"))

    def test_body_that_awaits_a_step(self) -> None:
        """Then the body may go on writing the other script: what has come may be meant for that."""
        async def body(waits: Any, asks: Any) -> None:
            task = asyncio.ensure_future(Client(waits, asks).run(more=b"QUIT\r\n"))
            try:
                await waits.join()
            finally:
                task.cancel()
        self.check(_WAITS, body)

    def test_servers_in_threads(self) -> None:
        """The same with a client that blocks."""
        for waits_first in (True, False):
            with self.subTest(waits_first=waits_first):
                self.assertRegex(run_threaded_mixin(waits_first, b"QUIT\r\n"), _MORE)
                self.assertRegex(run_threaded_mixin(waits_first, b""), _WAITS)


class NestedTests(unittest.IsolatedAsyncioTestCase):
    """Two servers, each in its own ``async with``."""

    def setUp(self) -> None:
        shorten(self)

    async def run_in(self, waits: Any, asks: Any, *, waits_first: bool, **options: Any) -> None:
        """Run the client in both blocks."""
        first, second = (waits, asks) if waits_first else (asks, waits)
        async with first, second:
            waited(waits)
            asked(asks)
            await Client(waits, asks).run(**options)

    async def check(self, expected: str, **options: Any) -> None:
        """Check the verdict, whichever block is the outer one."""
        for waits_first in (True, False):
            with self.subTest(waits_first=waits_first):
                servers = [MockTCPServer(watch_streams=False, allow_open=True) for _ in range(2)]
                with self.assertRaisesRegex(ExpectationError, expected):
                    await self.run_in(*servers, waits_first=waits_first, **options)

    @lasting
    async def test_bytes_that_no_step_explains(self) -> None:
        """The client is stuck after a request that is not in the script."""
        await self.check(_MORE, more=b"QUIT\r\n")
        await self.check(_MORE, more=b"QUIT\r\n", stuck=True)

    @lasting
    async def test_client_that_is_stuck_by_itself(self) -> None:
        """If nothing is wrong with the other server, the one that waits is reported."""
        await self.check(_WAITS)
        await self.check(_WAITS, stuck=True)

    async def test_bytes_after_the_failure(self) -> None:
        """What the client sends because it was reset is a consequence."""
        await self.check(_WAITS, late=b"QUIT\r\n")

    @lasting
    async def test_servers_in_threads(self) -> None:
        """The same with a client that blocks, in a ``with`` statement, and in ``async with``."""
        for waits_first in (True, False):
            for expected, more in ((_MORE, b"QUIT\r\n"), (_WAITS, b"")):
                with self.subTest(waits_first=waits_first, more=more):
                    waits, asks = (ThreadedMockTCPServer(allow_open=True) for _ in range(2))
                    first, second = (waits, asks) if waits_first else (asks, waits)
                    with self.assertRaisesRegex(ExpectationError, expected), first, second:
                        waited(waits)
                        asked(asks)
                        Client(waits, asks).run_blocking(more=more)
                    servers = [ThreadedMockTCPServer(allow_open=True) for _ in range(2)]
                    with self.assertRaisesRegex(ExpectationError, expected):
                        await self.run_in(*servers, waits_first=waits_first, more=more, stuck=True)

    async def test_somebody_elses_cancellation(self) -> None:
        """A time-out of the test's own says nothing about its servers: it stands."""
        async with contextlib.AsyncExitStack() as stack:
            asks = await stack.enter_async_context(MockTCPServer(watch_streams=False))
            asked(asks)
            reader, writer = await asyncio.open_connection(*asks.address)
            writer.write(b"PING\r\nQUIT\r\n")
            with self.assertRaises(asyncio.TimeoutError):
                await asyncio.wait_for(asyncio.sleep(60), 0.01)
            asks.expect_line(b"QUIT")
            await reader.readline()
            writer.close()


if __name__ == "__main__":
    unittest.main()
