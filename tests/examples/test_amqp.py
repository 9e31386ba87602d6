"""A client of a message queue, pika: heartbeats of both sides for an hour, a server that falls silent, a long outage.

A frame is a byte with its type, two bytes with its channel, four with the length of its body, the body, and a byte that
ends it (AMQP 0-9-1, 2.3.5). Time is virtual: what pika waits for, it asks its event loop for.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import struct
import unittest
from typing import Any, Optional

from tcpclient_testing import Connection, MockTCPServerMixin
from tcpclient_testing.framing import Framing, FramingError
from tcpclient_testing.matchers import StartsWith

HAS_PIKA = importlib.util.find_spec("pika") is not None

HEARTBEAT = b"\x08\0\0"


class Frames(Framing):
    """Frames; the payload is the type, the channel and the body, without what stands around the body."""

    def encode(self, payload: bytes) -> bytes:
        """Put the length before the body, and the end behind it."""
        return payload[:3] + struct.pack(">I", len(payload) - 3) + payload[3:] + b"\xce"

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The type, the channel and the body, when they are there, and the end of the frame as well."""
        size = 8 + int.from_bytes(data[3:7], "big")
        if len(data) < size:
            return None
        if data[size - 1] != 0xCE:
            raise FramingError("a frame ends in CE", offset=size - 1)
        return data[:3] + data[7:size - 1], size


def method(number: int, arguments: bytes = b"") -> bytes:
    """A frame that calls a method of the class "connection", or answers."""
    return struct.pack(">BHHH", 1, 0, 10, number) + arguments


START, START_OK, TUNE, TUNE_OK = (method(number) for number in (10, 11, 30, 31))
OPEN, OPEN_OK, CLOSE, CLOSE_OK = (method(number) for number in (40, 41, 50, 51))
LIMITS = struct.pack(">HIH", 2047, 131072, 60)  # channels, bytes in a frame, seconds between heartbeats


def let_in(connection: Connection) -> None:
    """The script of a login: both sides agree on a heartbeat a minute."""
    connection.expect_bytes(b"AMQP\0\0\x09\x01")
    connection.send_frame(START + struct.pack(">BBII5sI5s", 0, 9, 0, 5, b"PLAIN", 5, b"en_US"))
    connection.expect_frame(StartsWith(START_OK))
    connection.send_frame(TUNE + LIMITS)
    connection.expect_frame(TUNE_OK + LIMITS)
    connection.expect_frame(StartsWith(OPEN))
    connection.send_frame(OPEN_OK + b"\0")


def see_off(connection: Connection) -> None:
    """The client says that it goes, waits for the answer, and closes."""
    connection.expect_frame(StartsWith(CLOSE))
    connection.send_frame(CLOSE_OK)
    connection.expect_disconnect()


@unittest.skipUnless(HAS_PIKA, "needs the package pika")
class AMQPTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """What takes minutes and hours of a client's life."""

    tcpserver_options = {"framing": Frames()}
    virtual_time = True

    def setUp(self) -> None:
        """Keep pika's complaints about its server to itself."""
        logger = logging.getLogger("pika")
        self.addCleanup(logger.setLevel, logger.level)
        logger.setLevel(logging.CRITICAL + 1)

    async def connect(self, **options: Any) -> Any:
        """The client under test; `self.closed` is to be the reason why it has closed."""
        from pika import ConnectionParameters
        from pika.adapters.asyncio_connection import AsyncioConnection
        loop = asyncio.get_running_loop()
        opened, self.closed = loop.create_future(), loop.create_future()
        AsyncioConnection(ConnectionParameters(*self.tcpserver.address, **options), opened.set_result,
                          lambda _, error: opened.set_exception(error),
                          lambda _, reason: self.closed.set_result(reason))
        return await opened

    async def test_hearts_beat_for_an_hour(self) -> None:
        """The client sends its heartbeats, and takes the server's for a sign of life."""
        connection = self.tcpserver.expect_connect().connection
        let_in(connection)
        beats = connection.allow(HEARTBEAT, framing=Frames())
        connection.every(60, HEARTBEAT, framing=Frames())

        client = await self.connect()
        await asyncio.sleep(3600)
        self.assertGreaterEqual(beats.count, 60)
        see_off(connection)
        client.close()
        await self.closed

    async def test_server_falls_silent(self) -> None:
        """The connection is there, and nothing comes: the client gives it up when two heartbeats are missing."""
        from pika.exceptions import AMQPHeartbeatTimeout
        connection = self.tcpserver.expect_connect().connection
        let_in(connection)
        connection.allow(HEARTBEAT, framing=Frames())
        connection.expect_disconnect(within=140)

        await self.connect()
        self.assertIsInstance(await self.closed, AMQPHeartbeatTimeout)

    async def test_outage(self) -> None:
        """For ten minutes the server refuses everybody; the client, which tries every four, is let in at its fourth."""
        self.tcpserver.refuse_connections()
        connecting = asyncio.create_task(self.connect(connection_attempts=5, retry_delay=240))
        await asyncio.sleep(600)
        self.tcpserver.accept_connections()
        connection = self.tcpserver.expect_connect(after=100, within=140).connection
        let_in(connection)
        see_off(connection)

        (await connecting).close()
        await self.closed


if __name__ == "__main__":
    unittest.main()
