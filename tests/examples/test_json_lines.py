"""JSON-lines RPC with ids: the client has several calls under way at once, and it matters to nobody which is first."""

from __future__ import annotations

import asyncio
import json
import unittest
from typing import Any

from tcpclient_testing import MockTCPServerMixin
from tcpclient_testing.matchers import JSON


class RpcClient:
    """The client under test: replies find their calls by the id."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.calls: dict[int, asyncio.Future[Any]] = {}
        self.task = asyncio.create_task(self.read())

    async def read(self) -> None:
        """Give each reply to whoever waits for it."""
        async for line in self.reader:
            reply = json.loads(line)
            self.calls.pop(reply["id"]).set_result(reply["result"])

    async def call(self, method: str, *params: Any) -> Any:
        """Call a method of the server."""
        number = len(self.calls) + 1
        future = self.calls[number] = asyncio.get_running_loop().create_future()
        self.writer.write(json.dumps({"id": number, "method": method, "params": params}).encode() + b"\n")
        return await future

    async def close(self) -> None:
        """Disconnect."""
        self.task.cancel()
        self.writer.close()
        await self.writer.wait_closed()


def total(request: Any) -> bytes:
    """Answer an `add`."""
    return json.dumps({"id": request["id"], "result": sum(request["params"])}).encode()


def length(request: Any) -> bytes:
    """Answer a `length`."""
    return json.dumps({"id": request["id"], "result": len(request["params"][0])}).encode()


class RpcTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """Calls at the same time."""

    tcpserver_options = {"ending": b"\n"}

    async def test_calls_in_any_order(self) -> None:
        """Each call is answered with its own id, whichever comes first."""
        connection = self.tcpserver.expect_connect().connection
        with connection.any_order():
            connection.expect_line(JSON({"method": "length"}))
            connection.send_line(length)
            connection.expect_line(JSON({"method": "add"}))
            connection.send_line(total)
        self.tcpserver.expect_disconnect()

        client = RpcClient(*await asyncio.open_connection(*self.tcpserver.address))
        results = await asyncio.gather(client.call("add", 1, 2, 3), client.call("length", "four"))
        self.assertEqual(results, [6, 4])
        await client.close()
