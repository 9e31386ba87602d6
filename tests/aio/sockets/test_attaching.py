"""Tests of connections that are reset as soon as their clients know that they are connected."""

from __future__ import annotations

import asyncio
import socket
import unittest

from tcpclient_testing import MockTCPServer
from tests.support import streams
from tests.support.transcripts import notes

TIMES = 20


class TurningAwayTests(unittest.IsolatedAsyncioTestCase):
    """Clients in the server's own loop."""

    async def test_streams_are_connected_before_they_are_reset(self) -> None:
        """`open_connection` succeeds each time, and reading fails."""
        async with MockTCPServer() as server:
            server.fail_connections(TIMES)
            for _ in range(TIMES):
                reader, writer = await asyncio.open_connection(*server.address)
                with self.assertRaises(ConnectionResetError):
                    await reader.read()
                await streams.close(writer)
        self.assertEqual(len(server.connections), 0)

    async def test_protocol_is_told_of_connection_and_loss(self) -> None:
        """A protocol gets a transport with both addresses, and then the error."""
        lost = asyncio.get_running_loop().create_future()

        class Client(asyncio.Protocol):
            def connection_lost(self, exc: Exception | None) -> None:
                lost.set_result(exc)

        async with MockTCPServer() as server:
            server.fail_connections(1)
            transport, _ = await asyncio.get_running_loop().create_connection(Client, *server.address)
            self.assertEqual(transport.get_extra_info("peername"), server.address)
            self.assertIsInstance(await lost, ConnectionResetError)
            transport.close()

    async def test_socket_is_connected_before_it_is_reset(self) -> None:
        """The same of the loop's own socket methods."""
        loop = asyncio.get_running_loop()
        async with MockTCPServer() as server:
            server.fail_connections(TIMES)
            for _ in range(TIMES):
                with socket.socket() as client:
                    client.setblocking(False)
                    await loop.sock_connect(client, server.address)
                    with self.assertRaises(ConnectionResetError):
                        await loop.sock_recv(client, 1)

    async def test_server_is_left_meanwhile(self) -> None:
        """The connection is reset then, and not before the client has been told of it."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            async with MockTCPServer() as server:
                server.fail_connections(1)
                await loop.sock_connect(client, server.address)
            with self.assertRaises(ConnectionResetError):
                await loop.sock_recv(client, 1)

    async def test_server_is_closed_meanwhile(self) -> None:
        """Where nothing is waited for, the socket is closed at once."""
        loop = asyncio.get_running_loop()
        with socket.socket() as client:
            client.setblocking(False)
            server = MockTCPServer()
            await server.start()
            server.fail_connections(1)
            connecting = asyncio.ensure_future(loop.sock_connect(client, server.address))
            while not notes(server):
                await asyncio.sleep(0)
            server.close()
            await asyncio.wait([connecting])
            connecting.exception()


if __name__ == "__main__":
    unittest.main()
