"""A pool of connections: which of them is opened first is left open, and each gets the script that it means."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import MockTCPServerMixin


async def fetch(host: str, port: int, name: bytes) -> bytes:
    """The client under test: one connection per shard."""
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(b"USE " + name + b"\r\n")
    reply = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return reply.rstrip()


class PoolTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Three connections at once."""

    async def test_shards_in_any_order(self) -> None:
        """Whichever connects first: what it sends first tells which script is its own."""
        server = self.tcpserver
        with server.any_order():
            for name in (b"red", b"green", b"blue"):
                server.expect_connect()
                server.expect_line(b"USE " + name)
                server.send_line(b"rows of " + name)
                server.expect_disconnect()

        names = (b"blue", b"red", b"green")
        replies = await asyncio.gather(*(fetch(*server.address, name) for name in names))
        self.assertEqual(replies, [b"rows of " + name for name in names])
