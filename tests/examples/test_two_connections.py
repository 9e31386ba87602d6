"""Two connections at once, each with a script of its own."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import MockTCPServerMixin


async def subscribe(host: str, port: int, topic: bytes) -> bytes:
    """The client under test: one connection a topic; returns the first message."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"SUB " + topic + b"\r\n")
        return (await reader.readuntil(b"\r\n"))[:-2]
    finally:
        writer.close()
        await writer.wait_closed()


class TwoConnectionsTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """What is written on a connection's handle waits for that connection alone."""

    async def test_second_is_answered_first(self) -> None:
        """The first client's answer waits until the second client has left."""
        first = self.tcpserver.expect_connect().connection
        second = self.tcpserver.expect_connect().connection
        second.expect_line(b"SUB b")
        second.send_line(b"message b")
        gone = second.expect_disconnect()
        first.expect_line(b"SUB a")
        first.hold_until(gone)
        first.send_line(b"message a")
        first.expect_disconnect()

        one = asyncio.create_task(subscribe(*self.tcpserver.address, b"a"))
        while not self.tcpserver.connections:
            await asyncio.sleep(0)  # the first to connect is the first in the script
        self.assertEqual(await subscribe(*self.tcpserver.address, b"b"), b"message b")
        self.assertEqual(await one, b"message a")
        self.assertEqual(self.tcpserver.connections[1].received, b"SUB b\r\n")


if __name__ == "__main__":
    unittest.main()
