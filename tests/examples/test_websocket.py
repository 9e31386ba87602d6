"""A WebSocket handshake (RFC 6455, 1.3 and 4.2.2) with a real client: the accept key is computed from the request."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import re
import unittest

from tcpclient_testing import MockTCPServerMixin
from tcpclient_testing.matchers import Regex

HAS_WEBSOCKETS = importlib.util.find_spec("websockets") is not None
MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept(request: re.Match[bytes]) -> bytes:
    """The server's part of the handshake."""
    key = base64.b64encode(hashlib.sha1(request["key"] + MAGIC, usedforsecurity=False).digest())
    return (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + key + b"\r\n\r\n")


def unmasked(header: bytes, body: bytes) -> bytes:
    """The payload of a client's frame (RFC 6455, 5.3)."""
    mask = header[2:6]
    return bytes(byte ^ mask[index % 4] for index, byte in enumerate(body))


@unittest.skipUnless(HAS_WEBSOCKETS, "needs the package websockets")
class WebSocketTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The client's handshake, one message each way, and the closing handshake."""

    async def test_handshake_and_echo(self) -> None:
        """The client accepts the computed key, sends a masked message, reads ours, and closes."""
        from websockets.asyncio.client import connect

        server = self.tcpserver
        server.expect_connect()
        server.expect_until(b"\r\n\r\n", Regex(rb"(?s)GET /chat HTTP/1\.1\r\n.*Sec-WebSocket-Key: (?P<key>[^\r]+).*"))
        server.send_bytes(accept)
        header = server.expect_exactly(6)
        body = server.expect_exactly(lambda header: header[1] & 0x7F)
        server.send_bytes(lambda body: b"\x81%c" % len(body) + unmasked(header.result(), body))
        closing = server.expect_exactly(8)
        server.send_bytes(b"\x88\x02\x03\xe8")
        server.disconnect()

        async with connect(f"ws://{server.host}:{server.port}/chat", proxy=None, compression=None) as websocket:
            await websocket.send("hello")
            self.assertEqual(await websocket.recv(), "hello")
        self.assertEqual(unmasked(header.result(), body.result()), b"hello")
        self.assertEqual(closing.result()[:2], b"\x88\x82")
