"""An asynchronous client and a blocking one, side by side, on one server.

The server has a thread of its own, so that it serves the blocking client, too; the test awaits its steps as it would
await those of a `MockTCPServer`.
"""

from __future__ import annotations

import asyncio
import socket
import unittest

from tcpclient_testing import ThreadedMockTCPServer


def ask_blocking(address: tuple[str, int]) -> bytes:
    """The one client under test blocks."""
    with socket.create_connection(address, timeout=10) as client:
        client.sendall(b"blocking\r\n")
        with client.makefile("rb") as file:
            return file.readline()


async def ask_asynchronously(host: str, port: int) -> bytes:
    """The other one does not."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"asynchronous\r\n")
        return await reader.readline()
    finally:
        writer.close()
        await writer.wait_closed()


class SideBySideTests(unittest.IsolatedAsyncioTestCase):
    """Both kinds of client at once."""

    async def test_both(self) -> None:
        """Each gets its answer, whichever comes first: the reply is made of what the client said."""
        async with ThreadedMockTCPServer() as server:
            for connection in [server.expect_connect().connection for _ in range(2)]:
                connection.expect_line()
                connection.send_line(lambda line: b"you are " + line)
                connection.expect_disconnect()

            loop = asyncio.get_running_loop()
            answers = await asyncio.gather(ask_asynchronously(*server.address),
                                           loop.run_in_executor(None, ask_blocking, server.address))
            await server.join()
        self.assertEqual(answers, [b"you are asynchronous\r\n", b"you are blocking\r\n"])

    async def test_one_after_the_other(self) -> None:
        """The script is written as the test goes on."""
        async with ThreadedMockTCPServer() as server:
            connected = server.expect_connect()
            line = server.expect_line()
            task = asyncio.ensure_future(ask_asynchronously(*server.address))
            self.assertEqual(await line, b"asynchronous")
            server.send_line(b"hello")
            server.expect_disconnect()
            self.assertEqual(await task, b"hello\r\n")
            self.assertEqual((await connected).received, b"asynchronous\r\n")
