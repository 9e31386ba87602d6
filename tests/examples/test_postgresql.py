"""A database driver, asyncpg: TLS begins on request, and a query is cancelled over a connection of its own.

A message is a byte with its type, the length of the rest (which counts itself), and the rest; the messages with which a
connection begins have no type (PostgreSQL's documentation, "Message Formats").
"""

from __future__ import annotations

import asyncio
import importlib.util
import struct
import unittest
from typing import Any, Optional

from tcpclient_testing import Connection, MockTCPServerMixin
from tcpclient_testing.framing import Framing, LengthPrefixed
from tcpclient_testing.matchers import StartsWith
from tcpclient_testing.tls import client_context

HAS_ASYNCPG = importlib.util.find_spec("asyncpg") is not None

FIRST = LengthPrefixed(4, includes_header=True)
STARTUP, CANCEL, TLS = (struct.pack(">I", code) for code in (3 << 16, 80877102, 80877103))
KEY = b"\0\0\0\7secr"
READY, TERMINATE = b"ZI", b"X"
CANCELLED = b"ESERROR\0C57014\0Mcanceling statement due to user request\0\0"


class Messages(Framing):
    """Messages with a type; the payload is the type and the rest, without the length between them."""

    def encode(self, payload: bytes) -> bytes:
        """Put the length, four of whose bytes are its own, behind the type."""
        return payload[:1] + struct.pack(">I", len(payload) + 3) + payload[1:]

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The type and the rest, when they are there."""
        size = 1 + int.from_bytes(data[1:5], "big")
        return (data[:1] + data[5:size], size) if 5 <= size <= len(data) else None


def let_in(connection: Connection) -> None:
    """The script of a login: no password is wanted."""
    connection.expect_frame(StartsWith(STARTUP), framing=FIRST)
    for message in (b"R" + bytes(4), b"Sserver_version\x0016.0\0", b"K" + KEY, READY):
        connection.send_frame(message)


def see_off(connection: Connection) -> None:
    """The client says that it goes, and it is the server that closes."""
    connection.expect_frame(TERMINATE)
    connection.disconnect()


@unittest.skipUnless(HAS_ASYNCPG, "needs the package asyncpg")
class PostgreSQLTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Scripts of one connection, and of two that wait for each other."""

    tcpserver_options = {"framing": Messages()}
    virtual_time = True

    async def connect(self, **options: Any) -> Any:
        """The client under test."""
        import asyncpg
        host, port = self.tcpserver.address
        return await asyncpg.connect(host=host, port=port, user="me", database="db", **{"ssl": False, **options})

    async def test_slow_query_is_cancelled_over_a_second_connection(self) -> None:
        """After the driver's time-out of a minute, which takes no time here; then the first connection goes on."""
        first = self.tcpserver.expect_connect().connection
        let_in(first)
        first.expect_frame(b"Qselect pg_sleep(3600)\0")
        second = self.tcpserver.expect_connect(after=60, within=61).connection
        request = second.expect_frame(CANCEL + KEY, framing=FIRST)
        second.disconnect()
        first.hold_until(request)
        first.send_frame(CANCELLED)
        first.send_frame(READY)
        first.expect_frame(b"Qselect 1\0")
        first.send_frame(b"CSELECT 1\0")
        first.send_frame(READY)
        see_off(first)

        client = await self.connect(command_timeout=60)
        with self.assertRaises(asyncio.TimeoutError):
            await client.execute("select pg_sleep(3600)")
        self.assertEqual(await client.execute("select 1"), "SELECT 1")
        await client.close()

    async def test_tls_begins_when_the_server_has_agreed(self) -> None:
        """One byte, S for yes, without a frame around it; what comes before it and after it are frames."""
        connection = self.tcpserver.expect_connect().connection
        connection.expect_frame(TLS, framing=FIRST)
        connection.send_bytes(b"S")
        connection.start_tls()
        let_in(connection)
        see_off(connection)

        client = await self.connect(ssl=client_context())
        await client.close()

    async def test_reset_in_the_middle_of_a_reply(self) -> None:
        """The driver says that the connection is gone, and knows it from then on."""
        import asyncpg
        connection = self.tcpserver.expect_connect().connection
        let_in(connection)
        connection.expect_frame(b"Qselect 1\0")
        connection.send_bytes(b"C\0\0")
        connection.reset()

        client = await self.connect()
        with self.assertRaises(asyncpg.ConnectionDoesNotExistError):
            await client.execute("select 1")
        self.assertTrue(client.is_closed())


if __name__ == "__main__":
    unittest.main()
