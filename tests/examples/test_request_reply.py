"""Requests and replies: lines and frames, answers that depend on the question, scripts that go along with the test.

One client speaks JSON-RPC in frames: each request has an id, and the reply has to carry it back.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import unittest
from typing import Any

from tcpclient_testing import MockTCPServerMixin
from tcpclient_testing.framing import LengthPrefixed, read_frame, write_frame
from tcpclient_testing.matchers import JSON

FRAMING = LengthPrefixed(2)


class RpcClient:
    """The client under test: one call at a time, in frames with a length of two bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.ids = itertools.count(1)

    @classmethod
    async def connect(cls, host: str, port: int) -> RpcClient:
        """Connect to a server."""
        return cls(*await asyncio.open_connection(host, port))

    async def call(self, method: str, **params: Any) -> Any:
        """Call a method of the server, and return its result."""
        number = next(self.ids)
        request = json.dumps({"id": number, "method": method, "params": params}).encode()
        write_frame(self.writer, request, framing=FRAMING)
        await self.writer.drain()
        reply = json.loads(await read_frame(self.reader, framing=FRAMING))
        if reply["id"] != number:
            raise ValueError(f"the reply to request {number} has the id {reply['id']}")
        return reply["result"]

    async def close(self) -> None:
        """Disconnect."""
        self.writer.close()
        await self.writer.wait_closed()


def product(request: Any) -> bytes:
    """Answer a request, as the server is to do it."""
    result = request["params"]["a"] * request["params"]["b"]
    return json.dumps({"id": request["id"], "result": result}).encode()


class RpcTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The client's calls are matched as JSON, and answered with what they ask for."""

    tcpserver_options = {"framing": FRAMING}

    async def asyncSetUp(self) -> None:
        self.client = await RpcClient.connect(*self.tcpserver.address)
        self.addAsyncCleanup(self.client.close)

    async def test_reply_carries_the_id_back(self) -> None:
        """What `send_frame` sends is computed from the request that was expected before it."""
        self.tcpserver.expect_connect()
        for _ in range(2):
            self.tcpserver.expect_frame(JSON({"method": "multiply"}))
            self.tcpserver.send_frame(product)
        self.tcpserver.expect_disconnect()

        self.assertEqual(await self.client.call("multiply", a=6, b=7), 42)
        self.assertEqual(await self.client.call("multiply", a=2, b=3), 6)

    async def test_script_goes_along_with_the_test(self) -> None:
        """A step can be awaited: its result is what the client sent."""
        await self.tcpserver.expect_connect()
        call = asyncio.create_task(self.client.call("greet", name="world"))

        request = await self.tcpserver.expect_frame(JSON())
        self.assertEqual(request["params"], {"name": "world"})
        self.tcpserver.send_frame(json.dumps({"id": request["id"], "result": "Hello, world"}).encode())
        self.assertEqual(await call, "Hello, world")


class LineTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Lines end with CR LF unless the server, or the step, says otherwise."""

    async def test_login(self) -> None:
        """A dialogue of lines, in which the server speaks first."""
        self.tcpserver.expect_connect()
        self.tcpserver.send_line(b"+OK ready")
        self.tcpserver.expect_line(b"USER me")
        self.tcpserver.send_line(b"+OK")
        self.tcpserver.expect_line(b"QUIT")
        self.tcpserver.disconnect()
        self.tcpserver.expect_disconnect()

        reader, writer = await asyncio.open_connection(*self.tcpserver.address)
        self.assertEqual(await reader.readline(), b"+OK ready\r\n")
        writer.write(b"USER me\r\n")
        self.assertEqual(await reader.readline(), b"+OK\r\n")
        writer.write(b"QUIT\r\n")
        self.assertEqual(await reader.read(), b"")
        writer.close()
        await writer.wait_closed()


if __name__ == "__main__":
    unittest.main()
