"""A client whose reply arrives byte by byte, split at a place, or slowly."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import MockTCPServerMixin, Network


async def fetch(host: str, port: int) -> bytes:
    """The client under test: asks for a message of which the first two bytes are the length."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET\n")
        length = int.from_bytes(await reader.readexactly(2), "big")
        return await reader.readexactly(length)
    finally:
        writer.close()
        await writer.wait_closed()


class SlowNetworkTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The same conversation under different conditions."""

    def expect_a_request(self) -> None:
        """What the client does, whatever the network is like."""
        self.tcpserver.expect_connect()
        self.tcpserver.expect_bytes(b"GET\n")
        self.tcpserver.send_bytes(b"\x00\x05hello")
        self.tcpserver.expect_disconnect()

    async def test_reply_comes_byte_by_byte(self) -> None:
        """Each byte is a read of its own."""
        self.tcpserver.set_network(Network(chunk=1))
        self.expect_a_request()

        self.assertEqual(await fetch(*self.tcpserver.address), b"hello")
        await self.tcpserver.join()
        self.assertEqual(self.tcpserver.connections[0].splits, (1, 2, 3, 4, 5, 6))

    async def test_length_is_split(self) -> None:
        """The first read ends in the middle of the length."""
        self.tcpserver.set_network(Network(splits=(1,)))
        self.expect_a_request()

        self.assertEqual(await fetch(*self.tcpserver.address), b"hello")

    async def test_reply_comes_in_random_pieces(self) -> None:
        """The pieces have a seed, which a failure's report shows: put it in to see the same failure again."""
        self.tcpserver.set_network(Network(chunk=(1, 3), latency=0.001))
        self.expect_a_request()

        self.assertEqual(await fetch(*self.tcpserver.address), b"hello")
