"""What clients of every kind see of each fault: the table that tells the faults apart."""

from __future__ import annotations

import asyncio
import unittest
from unittest import mock

from tcpclient_testing import MockTCPServer, tls
from tcpclient_testing.aio.connection import closing
from tests.support.fault_clients import CLIENTS, ends_of_a_reset


def reset(server):
    """`reset()` after some bytes."""
    server.expect_connect()
    server.send_bytes(b"hel")
    server.reset()


def reset_after(server):
    """`reset_after` in mid-message."""
    server.expect_connect()
    server.reset_after(3)
    server.send_bytes(b"hello")


def disconnect(server):
    """`disconnect()` after some bytes."""
    server.expect_connect()
    server.send_bytes(b"hel")
    server.disconnect()


def half_close(server):
    """`send_eof()`, and the server goes on reading."""
    server.expect_connect()
    server.send_bytes(b"hel")
    server.send_eof()
    server.expect_disconnect()


def stall(server):
    """`stall_after` in mid-message."""
    server.expect_connect()
    server.stall_after(3)
    server.send_bytes(b"hello")
    server.expect_disconnect()


def refuse(server):
    """Nobody listens."""
    server.refuse_connections()


def fail(server):
    """The connection is reset as soon as it is accepted."""
    server.fail_connections(1)


#: The fault, what the client reads, how that ends, and the name of the exception's errno.
TABLE = (
    (reset, b"hel", "ConnectionResetError", "ECONNRESET"),
    (reset_after, b"hel", "ConnectionResetError", "ECONNRESET"),
    (disconnect, b"hel", "end", ""),
    (half_close, b"hel", "end", ""),
    (stall, b"hel", "timeout", ""),
    (refuse, b"", "ConnectionRefusedError", "ECONNREFUSED"),
    (fail, b"", "ConnectionResetError", "ECONNRESET"),
)


class ClientErrorTests(unittest.IsolatedAsyncioTestCase):
    """Each fault is told apart by the operating system's error, in clear and over TLS.

    TLS on blocking clients of some versions aside, to which a reset in mid-stream is an end: see `ends_of_a_reset`.
    A time-out is `socket.timeout` on blocking clients of 3.9, `TimeoutError` from 3.10 on, and has no errno.
    """

    async def assert_table(self, client, secure):
        async def outcome(script, data):
            async with MockTCPServer(tls=secure) as server:
                script(server)
                seen = await CLIENTS[client](server.address, tls.client_context() if secure else None,
                                             timeout=0.02 if script is stall else 30, after=len(data))
                await server.join()
            return seen

        # All at once, since some have to wait; clients that read are waited for, as long as it takes.
        with mock.patch.object(closing, "_READING", 5.0):
            outcomes = await asyncio.gather(*(outcome(script, data) for script, data, _, _ in TABLE))
        for (script, data, end, code), seen in zip(TABLE, outcomes):
            with self.subTest(fault=script.__name__, client=client, tls=secure):
                self.assertEqual(seen.data, data)
                if script in (reset, reset_after) and seen.end != end:
                    self.assertIn(seen.end, ends_of_a_reset(client, tls=secure))
                    continue
                self.assertEqual((seen.end, seen.code), (end, code), repr(seen.error))

    async def test_streams(self):
        """A client with asyncio's streams."""
        await self.assert_table("streams", False)

    async def test_streams_over_tls(self):
        """The same with TLS."""
        await self.assert_table("streams", True)

    async def test_blocking_socket(self):
        """A blocking socket in a thread."""
        await self.assert_table("thread", False)

    async def test_blocking_socket_over_tls(self):
        """A blocking `ssl.SSLSocket` in a thread."""
        await self.assert_table("thread", True)
