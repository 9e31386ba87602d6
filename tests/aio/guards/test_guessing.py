"""A loop that is blocked where the system doesn't say what its thread waits for."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
import unittest
from collections.abc import Awaitable
from typing import Any, Callable
from unittest import mock

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.guards import guard
from tcpclient_testing.aio.guards.guessing import may_wait_for_client
from tests.support.long import lasting
from tests.support.streams import close, connect

TIMEOUT = 0.08


def silent_system(test: Any) -> Any:
    """Let the system say nothing of what a thread waits for."""
    return mock.patch.object(guard, "waits_for_client", lambda *_: None)(test)


@silent_system
class BlockedLoopTests(unittest.IsolatedAsyncioTestCase):
    """What becomes of a test that blocks the loop while the server has something to do."""

    async def ask_and_block(self, block: Callable[[], Any]) -> None:
        """Let a client of the loop ask, and block the loop while the server could answer."""
        asyncio.get_running_loop().slow_callback_duration = 60
        async with MockTCPServer(timeout=TIMEOUT) as server:
            server.expect_connect(timeout=20)
            server.expect_line(b"PING", timeout=20)
            server.send_line(b"PONG")
            server.expect_disconnect(timeout=20)
            reader, writer = await connect(server)
            try:
                writer.write(b"PING\r\n")
                block()
                self.assertEqual(await reader.readline(), b"PONG\r\n")
            finally:
                await close(writer)

    async def test_sleep_of_the_tests_own(self) -> None:
        """It ends by itself, and is not the client's."""
        await self.ask_and_block(lambda: time.sleep(3 * TIMEOUT))

    @lasting
    async def test_wait_for_something_else(self) -> None:
        """The loop serves every client that there is, so that none of them blocks it."""
        ended = threading.Event()
        threading.Timer(3 * TIMEOUT, ended.set).start()
        await self.ask_and_block(ended.wait)

    async def test_child_process(self) -> None:
        """It may be the client, or not: for a while it isn't."""
        await self.ask_and_block(lambda: subprocess.run([sys.executable, "-c", "pass"], check=True))

    @lasting
    async def test_child_process_that_never_ends(self) -> None:
        """After a while it is: a test whose client nobody sees must not hang."""
        program = "import socket, sys; socket.create_connection(('127.0.0.1', int(sys.argv[1]))).recv(1)"
        asyncio.get_running_loop().slow_callback_duration = 60
        with mock.patch.object(guard, "_LONG", 2 * TIMEOUT), self.assertRaisesRegex(ExpectationError, "blocked"):
            async with MockTCPServer(timeout=TIMEOUT) as server:
                server.expect_connect(timeout=60)
                subprocess.run([sys.executable, "-c", program, str(server.port)], stderr=subprocess.PIPE, check=False)

    async def test_blocking_client(self) -> None:
        """A socket that no loop watches is a client's."""
        asyncio.get_running_loop().slow_callback_duration = 60
        with self.assertRaisesRegex(ExpectationError, r"client.recv\(1\).* blocked the event loop"):
            async with MockTCPServer(timeout=TIMEOUT) as server:
                server.expect_connect(timeout=60)
                with socket.create_connection(server.address) as client:
                    client.recv(1)


class GuessTests(unittest.IsolatedAsyncioTestCase):
    """`may_wait_for_client` itself."""

    async def guess(self, server: MockTCPServer, clients: int) -> Any:
        """Guess what a thread waits for that has called a function in a line with no `sleep`."""
        loop = asyncio.get_running_loop()
        waits = threading.Event()
        thread = threading.Thread(target=waits.wait)
        thread.start()
        try:
            frame = sys._current_frames()[thread.ident or 0]
            return may_wait_for_client(frame, loop, [server.address], clients)
        finally:
            waits.set()
            thread.join()

    async def with_server(self, talk: Callable[[MockTCPServer], Awaitable[None]]) -> None:
        """Run this with a server that takes any client."""
        async with MockTCPServer(allow_extra=True) as server:
            await talk(server)

    async def test_sockets(self) -> None:
        """What counts is whose sockets are connected to the server."""
        async def talk(server: MockTCPServer) -> None:
            self.assertIsNone(await self.guess(server, 1))  # a client that is not of Python
            _, writer = await connect(server)
            self.assertIs(await self.guess(server, 1), False)
            self.assertIsNone(await self.guess(server, 2))
            with socket.create_connection(server.address):
                self.assertIs(await self.guess(server, 2), True)
            await close(writer)
        await self.with_server(talk)

    async def test_thread_that_has_ended(self) -> None:
        """It waits for nothing."""
        self.assertIs(may_wait_for_client(None, asyncio.get_running_loop(), [], 0), False)


if __name__ == "__main__":
    unittest.main()
