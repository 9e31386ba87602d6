"""What the parts of a connection may ask and use."""

from __future__ import annotations

import asyncio
import socket
import struct
import unittest

from tcpclient_testing import ExpectationError, MockTCPServer
from tcpclient_testing.aio.context import Link, ServerContext
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.transcript.entries import Transcript
from tests.support.loops import AsyncTestCase


class LinkTests(unittest.TestCase):
    def setUp(self) -> None:
        session: Session = MemoryServer().session
        self.link = Link(ServerContext(session, Transcript(0.0, 100), threaded=False), memoryview(b""), None)
        self.cancelled: list[str] = []

    def test_lose_when_parts_wait(self) -> None:
        """Each is told once, in the order in which they began to wait, and after the connection counts as lost."""
        self.link.when_lost(lambda: self.cancelled.append(f"one, {self.link.lost}"))
        self.link.when_lost(lambda: self.cancelled.append(f"two, {self.link.lost}"))
        self.assertEqual(self.cancelled, [])
        self.link.lose()
        self.link.lose()
        self.assertEqual(self.cancelled, ["one, True", "two, True"])

    def test_lose_when_nothing_waits(self) -> None:
        """There is nothing to cancel."""
        self.link.lose()
        self.assertTrue(self.link.lost)


class LostConnectionTests(AsyncTestCase):
    async def test_lost_when_bytes_are_queued(self) -> None:
        """They are dropped: a connection that is lost keeps none of them in memory."""
        server = MockTCPServer()
        with self.assertRaisesRegex(ExpectationError, "reset the connection when it had taken"):
            async with server:
                connecting = server.expect_connect()
                sending = server.send_bytes(bytes(50_000_000))
                with socket.socket() as client:
                    client.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(client, server.address)
                    await connecting
                    protocol, = server._runtime.connections.by_number.values()
                    while not protocol.sending.outgoing:
                        await asyncio.sleep(0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                await sending
        self.assertTrue(protocol.link.lost)
        self.assertIsNone(protocol.sending.outgoing)


if __name__ == "__main__":
    unittest.main()
