"""What a connection writes, and when it is said to be handed over."""

from __future__ import annotations

import asyncio
import socket
import unittest

from tcpclient_testing import MockTCPServer
from tests.support.loops import AsyncTestCase


class AsideTests(AsyncTestCase):
    async def test_reply_that_does_not_fit(self) -> None:
        """A reply of less than one slice, which has to wait for the client, is done when it has been taken."""
        reply = bytes(200_000)
        async with MockTCPServer() as server:
            connecting = server.expect_connect()
            server.allow(b"PING\n", reply=reply)
            server.expect_bytes(b"A")
            server.send_bytes(b"a")
            server.expect_disconnect()
            loop = asyncio.get_running_loop()
            with socket.socket() as client:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                client.setblocking(False)
                await loop.sock_connect(client, server.address)
                await connecting
                protocol, = server._runtime.connections.by_number.values()
                assert protocol.link.transport is not None
                accepted = protocol.link.transport.get_extra_info("socket")
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                await loop.sock_sendall(client, b"PING\n")
                while not protocol.link.paused:
                    await asyncio.sleep(0)
                self.assertFalse(protocol.sending.outgoing)
                left = len(reply)
                while left:
                    left -= len(await loop.sock_recv(client, left))
                await loop.sock_sendall(client, b"A")
                self.assertEqual(await loop.sock_recv(client, 10), b"a")


if __name__ == "__main__":
    unittest.main()
