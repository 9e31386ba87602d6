"""A length-prefixed protocol with heartbeats of both sides: they come at any moment, and no script mentions them."""

from __future__ import annotations

import asyncio
import contextlib
import unittest

from tcpclient_testing import MockTCPServerMixin
from tcpclient_testing.framing import LengthPrefixed, read_frame, write_frame

FRAMING = LengthPrefixed(2)


class PumpClient:
    """The client under test: commands to a pump, and a heartbeat every few milliseconds that has to be answered."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.replies: asyncio.Queue[bytes] = asyncio.Queue()
        self.alive = 0
        self.server_alive = 0
        self.beating = asyncio.create_task(self.beat())
        self.reading = asyncio.create_task(self.read())

    async def beat(self) -> None:
        """Show that we live."""
        while True:
            write_frame(self.writer, b"alive?", framing=FRAMING)
            await asyncio.sleep(0.003)

    async def read(self) -> None:
        """Sort what comes, until the server closes."""
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                payload = await read_frame(self.reader, framing=FRAMING)
                if payload == b"alive!":
                    self.alive += 1
                elif payload == b"server lives":
                    self.server_alive += 1
                else:
                    await self.replies.put(payload)

    async def command(self, text: bytes) -> bytes:
        """Send a command and wait for its reply."""
        write_frame(self.writer, text, framing=FRAMING)
        return await self.replies.get()

    async def close(self) -> None:
        """Disconnect, and leave nothing unread: end our stream, read to the end of the server's, close."""
        self.beating.cancel()
        self.writer.write_eof()
        await self.reading
        self.writer.close()
        await self.writer.wait_closed()


class PumpTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Commands are scripted; heartbeats are allowed, answered and counted beside the script."""

    tcpserver_options = {"framing": FRAMING}

    async def test_commands_while_hearts_beat(self) -> None:
        """A slow reply: meanwhile both sides go on showing that they live."""
        heartbeats = self.tcpserver.allow(b"alive?", framing=FRAMING, reply=b"alive!")
        self.tcpserver.every(0.002, b"server lives", framing=FRAMING)
        self.tcpserver.expect_connect()
        self.tcpserver.expect_frame(b"start")
        self.tcpserver.delay(0.03)
        self.tcpserver.send_frame(b"started")
        self.tcpserver.expect_frame(b"stop")
        self.tcpserver.send_frame(b"stopped")
        self.tcpserver.expect_disconnect()

        client = PumpClient(*await asyncio.open_connection(*self.tcpserver.address))
        self.assertEqual(await client.command(b"start"), b"started")
        self.assertEqual(await client.command(b"stop"), b"stopped")
        await client.close()
        self.assertGreater(heartbeats.count, 1)
        self.assertGreater(client.alive, 0)
        self.assertGreater(client.server_alive, 1)
