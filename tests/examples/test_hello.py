"""The first two tests: a client that connects and leaves, and one that says hello.

Run it with ``python -m unittest tests.examples.test_hello -v``.
"""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import MockTCPServerMixin


async def hello(host: str, port: int) -> bytes:
    """The client under test: says hello, and returns what the server answers."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"Hello, server!")
        return await reader.readexactly(14)
    finally:
        writer.close()
        await writer.wait_closed()


class HelloTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """A client meets a server that follows a script."""

    async def test_connect_and_disconnect(self) -> None:
        """The client connects, and disconnects."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_disconnect()

        _, writer = await asyncio.open_connection(*self.tcpserver.address)
        writer.close()
        await writer.wait_closed()

    async def test_hello_world(self) -> None:
        """The client says hello, and gets an answer."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(b"Hello, server!")
        self.tcpserver.send_bytes(b"Hello, client!")
        self.tcpserver.expect_disconnect()

        self.assertEqual(await hello(*self.tcpserver.address), b"Hello, client!")


if __name__ == "__main__":
    unittest.main()
