"""A writer that must not pile up what the server does not take."""

from __future__ import annotations

import asyncio
import unittest

from tcpclient_testing import MockTCPServerMixin


class Uploader:
    """The client under test: sends blocks, and waits with the next one while the server is not reading."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)
        self.backlog = 0

    async def upload(self, blocks: int, block: bytes) -> None:
        """Send so many blocks; `backlog` is the most that ever lay in our own memory."""
        _, writer = await asyncio.open_connection(*self.address)
        for _ in range(blocks):
            writer.write(block)
            self.backlog = max(self.backlog, writer.transport.get_write_buffer_size())
            await writer.drain()
        writer.close()
        await writer.wait_closed()


class BackpressureTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The server stops reading for a while."""

    async def test_writer_waits(self) -> None:
        """Of sixteen megabytes no more than some blocks are ever in the client's memory."""
        block = bytes(64 * 1024)
        go_on = asyncio.Event()
        self.tcpserver.expect_connect()
        self.tcpserver.pause_reading()
        self.tcpserver.hold_until(go_on)
        self.tcpserver.resume_reading()
        self.tcpserver.expect_exactly(256 * len(block), keep=False)
        self.tcpserver.expect_disconnect()

        client = Uploader(*self.tcpserver.address)
        upload = asyncio.ensure_future(client.upload(256, block))
        done, _ = await asyncio.wait([upload], timeout=0.02)
        self.assertFalse(done)
        go_on.set()
        await upload
        self.assertLess(client.backlog, 4 * len(block))
