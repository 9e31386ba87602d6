"""Ctrl-C at any moment of an asynchronous server's life passes untouched, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import io
import unittest
from asyncio import streams

from tcpclient_testing import MockTCPServer, MockTCPServerMixin
from tests.support.interrupts import lines_that_leave_something
from tests.support.long import lasting
from tests.support.platforms import needs_proc


async def with_block() -> None:
    """A server in an `async with` block, and a client that keeps to its script."""
    async with MockTCPServer(watch_streams=False) as server:
        server.expect_connect()
        server.expect_disconnect()
        _, writer = await asyncio.open_connection(*server.address)
        writer.close()
        await server.join()


async def start_and_stop() -> None:
    """A server that is started and stopped."""
    server = MockTCPServer()
    await server.start()
    try:
        server.expect_connect()
        server.close()
    finally:
        await server.stop()


async def clear() -> None:
    """A server that is cleared between two scripts."""
    server = await MockTCPServer(watch_streams=False).start()
    try:
        for _ in range(2):
            server.expect_connect()
            server.expect_disconnect()
            _, writer = await asyncio.open_connection(*server.address)
            writer.close()
            await server.clear()
    finally:
        await server.stop()


@needs_proc
class EveryLineTests(unittest.TestCase):
    """KeyboardInterrupt in each line of the library, under asyncio.run()."""

    @lasting
    def test_async_with(self) -> None:
        """In `async with`, in steps, in what the loop calls, and at the end of the block."""
        self.assertEqual(lines_that_leave_something(lambda: asyncio.run(with_block()), step=16), [])

    @lasting
    def test_start_and_stop(self) -> None:
        """In start() and stop()."""
        self.assertEqual(lines_that_leave_something(lambda: asyncio.run(start_and_stop()), step=8), [])

    @lasting
    def test_clear(self) -> None:
        """In clear(), and in the script after it."""
        self.assertEqual(lines_that_leave_something(lambda: asyncio.run(clear()), step=16), [])


class BlockTests(unittest.TestCase):
    """A block of ``async with`` that the test itself ends."""

    def test_what_ends_the_program_passes(self) -> None:
        """It passes untouched, nothing is waited for, the server is closed, and the streams are asyncio's again."""
        for ending in KeyboardInterrupt, SystemExit:
            with self.subTest(ending=ending.__name__):
                servers: list[MockTCPServer] = []

                async def main(ending: type[BaseException] = ending, servers: list[MockTCPServer] = servers) -> None:
                    async with MockTCPServer(timeout=60) as server:
                        servers.append(server)
                        server.expect_connect()
                        raise ending

                with self.assertRaises(ending) as caught:
                    asyncio.run(main())
                self.assertIsNone(caught.exception.__context__)
                self.assertTrue(servers[0].closed)
                self.assertEqual(servers[0]._runtime.reception.listeners, [])
                self.assertEqual(streams.StreamWriter.__module__, "asyncio.streams")


class MixinTests(unittest.TestCase):
    """unittest leaves out the clean-ups after a KeyboardInterrupt."""

    def test_server_is_closed(self) -> None:
        """The server listens no more, and asyncio's streams are their own again."""
        servers: list[MockTCPServer] = []

        class Case(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
            async def test(self) -> None:
                servers.append(self.tcpserver)
                raise KeyboardInterrupt

        with contextlib.suppress(KeyboardInterrupt):
            unittest.TextTestRunner(io.StringIO()).run(Case("test"))
        (server,) = servers
        self.assertTrue(server.closed)
        self.assertEqual(server._runtime.reception.listeners, [])
        self.assertEqual(streams.StreamWriter.__module__, "asyncio.streams")
