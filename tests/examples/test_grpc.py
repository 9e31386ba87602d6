"""A client of gRPC, grpclib, and a protocol library that plays its server: h2 knows HTTP/2, the handler what to answer.

After a preface everything is frames: three bytes of length, six more of a header, and the payload (RFC 9113, 3.4, 4.1).
"""

from __future__ import annotations

import asyncio
import importlib.util
import struct
import unittest
from typing import Any, Optional

from tcpclient_testing import Connection, MockTCPServer, MockTCPServerMixin
from tcpclient_testing.framing import Framing
from tcpclient_testing.network import Network

HAS_GRPCLIB = importlib.util.find_spec("grpclib") is not None

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Frames(Framing):
    """Frames as they are, header and all: it is h2 that takes them apart."""

    def encode(self, payload: bytes) -> bytes:
        """Nothing is to be added."""
        return payload

    def decode(self, data: bytes) -> Optional[tuple[bytes, int]]:
        """The whole frame, when it is there."""
        size = 9 + int.from_bytes(data[:3], "big")
        return (data[:size], size) if len(data) >= size else None


class Greeter:
    """The server of one connection: a reply to each request, as soon as it is complete, and a status behind it."""

    def __init__(self, status: str = "0") -> None:
        from h2.config import H2Configuration
        from h2.connection import H2Connection
        self.http = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.status = status
        self.paths: dict[int, str] = {}

    async def serve(self, connection: Connection) -> None:
        """The handler: it feeds h2 with what comes, and sends what h2 has to say."""
        self.http.initiate_connection()
        self.http.receive_data(await connection.expect_bytes(PREFACE))
        connection.send_bytes(self.http.data_to_send())
        async for frame in connection.frames(framing=Frames()):
            for event in self.http.receive_data(frame):
                self.answer(event)
            if answers := self.http.data_to_send():
                connection.send_bytes(answers)

    def answer(self, event: Any) -> None:
        """Take notice of a request; greet when it is complete."""
        from h2.events import RequestReceived, StreamEnded
        if isinstance(event, RequestReceived):
            self.paths[event.stream_id] = dict(event.headers)[":path"]
        elif isinstance(event, StreamEnded):
            reply = b"hello from " + self.paths[event.stream_id].encode()
            self.http.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc+bytes")])
            self.http.send_data(event.stream_id, struct.pack(">BI", 0, len(reply)) + reply)
            self.http.send_headers(event.stream_id, [("grpc-status", self.status)], end_stream=True)


class Codec:
    """Messages of a gRPC service that are plain bytes."""

    __content_subtype__ = "bytes"

    def encode(self, message: bytes, message_type: Any) -> bytes:
        """Bytes as they are."""
        return message

    def decode(self, data: bytes, message_type: Any) -> bytes:
        """Bytes as they are."""
        return bytes(data)


@unittest.skipUnless(HAS_GRPCLIB, "needs the package grpclib")
class GRPCTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """One call each, for which the server sends some 150 bytes: the first 130 end in the middle of the reply."""

    virtual_time = True

    async def call(self, server: MockTCPServer, path: str) -> Any:
        """The client under test."""
        from grpclib.client import Channel, UnaryUnaryMethod
        channel = Channel(*server.address, codec=Codec())
        self.addCleanup(channel.close)
        return await UnaryUnaryMethod(channel, path, bytes, bytes)(b"hello", timeout=3600)

    async def test_call(self) -> None:
        """It is answered, and the answer may come byte by byte."""
        for chunk in (None, 1):
            with self.subTest(chunk=chunk):
                server = self.start_tcpserver(handler=Greeter().serve, network=Network(chunk=chunk))
                self.assertEqual(await self.call(server, "/Greeter/Greet"), b"hello from /Greeter/Greet")

    async def test_service_is_not_available(self) -> None:
        """A status behind the reply is an exception, the reply notwithstanding."""
        from grpclib import GRPCError, Status
        server = self.start_tcpserver(handler=Greeter("14").serve)
        with self.assertRaises(GRPCError) as caught:
            await self.call(server, "/Greeter/Greet")
        self.assertIs(caught.exception.status, Status.UNAVAILABLE)

    async def test_reply_that_stalls(self) -> None:
        """A fault before the fake: the status never comes, and the client gives up at its deadline, an hour later."""
        connection = self.tcpserver.expect_connect().connection
        connection.stall_after(130)
        connection.hand_over(Greeter().serve)
        with self.assertRaises(asyncio.TimeoutError):
            await self.call(self.tcpserver, "/Greeter/Greet")

    async def test_connection_that_is_lost(self) -> None:
        """A reply without its status is none."""
        from grpclib.exceptions import StreamTerminatedError
        connection = self.tcpserver.expect_connect().connection
        connection.disconnect_after(130)
        connection.hand_over(Greeter().serve)
        with self.assertRaises(StreamTerminatedError):
            await self.call(self.tcpserver, "/Greeter/Greet")


if __name__ == "__main__":
    unittest.main()
