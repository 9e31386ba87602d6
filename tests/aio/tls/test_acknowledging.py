"""Acknowledgements that the kernel would delay."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import sys
import unittest
from typing import Any, cast

from tcpclient_testing import MockTCPServer
from tcpclient_testing.aio.sockets.inet_diag import unacknowledged
from tcpclient_testing.aio.tls.acknowledging import acknowledge
from tcpclient_testing.tls import client_context


class TransportOf:
    """Stands for the transport of a socket."""

    def __init__(self, sock: object) -> None:
        self.sock = sock

    def get_extra_info(self, name: str) -> object:
        return self.sock if name == "socket" else None


def acknowledge_on(sock: object) -> None:
    """Call `acknowledge` with a transport that has this socket."""
    acknowledge(cast(Any, TransportOf(sock)))


class AcknowledgeTests(unittest.TestCase):
    """One acknowledgement."""

    @unittest.skipUnless(sys.platform == "linux", "only Linux has TCP_QUICKACK")
    def test_delayed_acknowledgement(self) -> None:
        """What the peer has sent is unacknowledged until the call, in one of a few attempts: a kernel's delay ends."""
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(
                listener.getsockname()) as client:
            server, _ = listener.accept()
            with server:
                for _ in range(20):
                    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0)
                    client.sendall(b"x")
                    server.recv(1)
                    if unacknowledged(client):
                        break
                else:
                    self.fail("the kernel has not delayed an acknowledgement")
                acknowledge_on(server)
                self.assertEqual(unacknowledged(client), 0)

    def test_sockets_without_acknowledgements(self) -> None:
        """A transport without a socket, a closed socket, and one of another family are left alone."""
        acknowledge_on(None)
        sock = socket.socket()
        sock.close()
        acknowledge_on(sock)
        if hasattr(socket, "AF_UNIX"):
            one, other = socket.socketpair(socket.AF_UNIX)
            with contextlib.closing(one), contextlib.closing(other):
                acknowledge_on(one)


class HandshakeTests(unittest.IsolatedAsyncioTestCase):
    """What the last message of a handshake gets."""

    @unittest.skipUnless(sys.platform == "linux", "only Linux has TCP_QUICKACK")
    async def test_handshake_is_acknowledged_when_it_is_done(self) -> None:
        """A client that blocks could send its first request only then."""
        async with MockTCPServer(tls=True) as server:
            connected = server.expect_connect()
            server.expect_disconnect()
            _, writer = await asyncio.open_connection(*server.address, ssl=client_context())
            await connected
            sock = writer.get_extra_info("socket")
            self.assertEqual(unacknowledged(sock), 0)
            writer.close()
            await writer.wait_closed()


if __name__ == "__main__":
    unittest.main()
