"""A client that must survive a reply that breaks off in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import unittest

from tcpclient_testing import MockTCPServerMixin


class Downloader:
    """The client under test: what it got before the connection broke it does not ask for again."""

    def __init__(self, host: str, port: int) -> None:
        self.address = (host, port)

    async def download(self, size: int) -> bytes:
        """Fetch `size` bytes, with as many connections as it takes."""
        data = b""
        while len(data) < size:
            reader, writer = await asyncio.open_connection(*self.address)
            writer.write(b"FROM %d\n" % len(data))
            with contextlib.suppress(ConnectionError, asyncio.TimeoutError):
                while len(data) < size:
                    piece = await asyncio.wait_for(reader.read(1000), 0.2)
                    if not piece:
                        break
                    data += piece
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        return data


class BrokenReplyTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The faults stand before the message that they break; on virtual time the client's patience costs nothing."""

    virtual_time = True

    async def test_client_goes_on_where_it_was(self) -> None:
        """A reset, an end and a silence in mid-reply; the fourth connection brings the rest."""
        server = self.tcpserver
        server.expect_connect()
        server.expect_line(b"FROM 0", ending=b"\n")
        server.reset_after(3)
        server.send_bytes(b"0123456789")

        server.expect_connect()
        server.expect_line(b"FROM 3", ending=b"\n")
        server.disconnect_after(2)
        server.send_bytes(b"3456789")

        server.expect_connect()
        server.expect_line(b"FROM 5", ending=b"\n")
        server.stall_after(1)
        server.send_bytes(b"56789")
        server.expect_disconnect(within=5)

        server.expect_connect()
        server.expect_line(b"FROM 6", ending=b"\n")
        server.send_bytes(b"6789")
        server.expect_disconnect()

        self.assertEqual(await Downloader(*server.address).download(10), b"0123456789")
