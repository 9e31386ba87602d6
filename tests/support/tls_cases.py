"""What tests of connections over TLS share: a test case, and clients whose handshake comes to nothing."""

from __future__ import annotations

import asyncio
import functools
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

from tcpclient_testing import ExpectationError, MockTCPServer, MockTCPServerMixin, tls
from tests.support.loops import AsyncTestCase
from tests.support.tls_client import TLSClient

__all__ = [
    "VERSIONS", "only", "connect", "TLSTestCase", "plain", "default_context", "distrusting",
    "distrusting_stream", "leaving_midway",
]

VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


def only(version: ssl.TLSVersion, **options: Any) -> ssl.SSLContext:
    """A client's context that speaks one version of TLS."""
    return tls.client_context(minimum_version=version, maximum_version=version, **options)


async def connect(server: MockTCPServer) -> socket.socket:
    """A client that speaks no TLS."""
    sock = socket.socket()
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, server.address)
    return sock


class TLSTestCase(MockTCPServerMixin, AsyncTestCase):
    tcpserver_options = {"tls": True}

    def setUp(self) -> None:
        self.addCleanup(TLSClient.close_all)

    async def failure(self, script: Callable[[MockTCPServer], object],
                      client: Callable[[MockTCPServer], Awaitable[object]], **options: Any) -> ExpectationError:
        """Return the verdict on a client that does not keep to the script."""
        with self.assertRaises(ExpectationError) as caught:
            async with MockTCPServer(**{"tls": True, "timeout": 5.0, **options}) as server:
                script(server)
                await asyncio.wait_for(client(server), 10)
                await asyncio.wait_for(server.join(), 10)
        return caught.exception

    def assert_says(self, error: ExpectationError, words: str, hint: str | None = None) -> None:
        """The report's first line has these words, and its hint those."""
        report = str(error)
        self.assertIn(words, report.split("\n", 1)[0])
        if hint is None:
            self.assertNotIn("\n  hint\n", report)
        else:
            self.assertIn(hint, report.partition("\n  hint\n")[2])

    def assert_cause(self, error: ExpectationError, mismatch: str) -> None:
        """The report's first line says what is behind the mismatch; that is told below, beginning with these words."""
        first, empty, below = str(error).split("\n")[:3]
        self.assertNotIn(mismatch, first)
        self.assertEqual((empty, below), ("", f"  {error.mismatch.summary}"))
        self.assertTrue(error.mismatch.summary.startswith(mismatch), error)


async def plain(server: MockTCPServer) -> None:
    """A client that speaks no TLS."""
    sock = await connect(server)
    try:
        await asyncio.get_running_loop().sock_sendall(sock, b"GET / HTTP/1.1\r\n\r\n")
        await asyncio.get_running_loop().sock_recv(sock, 100)
    except ConnectionError:
        pass
    finally:
        sock.close()


@functools.cache
def default_context() -> ssl.SSLContext:
    """The context of a client that trusts the system's authorities: there are many of them to read."""
    return ssl.create_default_context()


async def distrusting(server: MockTCPServer, context: ssl.SSLContext | None = None) -> None:
    """A client that refuses the certificate by an alert."""
    client = await TLSClient.connect(server, context or default_context(), shake=False)
    try:
        await client.handshake()
    except ssl.SSLCertVerificationError:
        pass  # its alert is out
    finally:
        client.close()


async def distrusting_stream(server: MockTCPServer) -> None:
    """An asyncio client that refuses the certificate: it closes without a word."""
    try:
        await asyncio.open_connection(server.host, server.port, ssl=default_context())
    except ssl.SSLCertVerificationError:
        pass


async def leaving_midway(server: MockTCPServer, *, how: str) -> None:
    """A client that goes away when it has seen the server's part of the handshake."""
    client = await TLSClient.connect(server, shake=False)
    client.begin_handshake()
    await client.flush()
    await client.fill()
    client.reset() if how == "reset" else client.close()
