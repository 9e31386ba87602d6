"""An asynchronous client of a message queue, nats-py: lines of text, JSON within them, and a handler as its server."""

from __future__ import annotations

import importlib.util
import json
import unittest
from typing import Any

from tcpclient_testing import Connection, MockTCPServer, MockTCPServerMixin
from tcpclient_testing.matchers import Regex

HAS_NATS = importlib.util.find_spec("nats") is not None

INFO = {"server_id": "scripted", "version": "2.10.0", "proto": 1, "max_payload": 1048576, "headers": True}


def greeting() -> bytes:
    """What the server says first."""
    return b"INFO " + json.dumps(INFO).encode()


async def serve(connection: Connection) -> None:
    """A server of one client: each subject that it publishes to comes back to it, if it has subscribed."""
    connection.send_line(greeting())
    subscriptions: dict[bytes, bytes] = {}
    async for line in connection.lines():
        words = line.split()
        if words[0] == b"PING":
            connection.send_line(b"PONG")
        elif words[0] == b"SUB":
            subscriptions[words[1]] = words[2]
        elif words[0] == b"PUB":
            payload = await connection.expect_exactly(int(words[2]) + 2)
            if words[1] in subscriptions:
                connection.send_bytes(b"MSG %s %s %s\r\n" % (words[1], subscriptions[words[1]], words[2]) + payload)


@unittest.skipUnless(HAS_NATS, "needs the package nats-py")
class NATSTests(MockTCPServerMixin, unittest.IsolatedAsyncioTestCase):
    """The same client, held to a script, and talking to a fake."""

    tcpserver_options = {"allow_open": True}

    async def connect(self, server: MockTCPServer, **options: Any) -> Any:
        """The client under test."""
        import nats
        return await nats.connect(f"nats://{server.host}:{server.port}", allow_reconnect=False, **options)

    async def test_credentials_are_sent(self) -> None:
        """The client's first line is JSON, with the user's name and password."""
        server = self.tcpserver
        server.expect_connect()
        server.send_line(greeting())
        connecting = server.expect_line(Regex(rb"CONNECT (?P<options>\{.*\})"))
        server.expect_line(b"PING")
        server.send_line(b"PONG")
        server.expect_disconnect(wait_closed=False)

        client = await self.connect(server, user="me", password="secret")
        options = json.loads(connecting.result()["options"])
        self.assertEqual((options["user"], options["pass"]), ("me", "secret"))
        await client.close()

    async def test_message_comes_back(self) -> None:
        """What the client publishes it gets, since it has subscribed."""
        server = self.start_tcpserver(handler=serve, watch_streams=False)
        client = await self.connect(server)
        subscription = await client.subscribe("news")
        await client.publish("news", b"hello\r\nworld")
        message = await subscription.next_msg(timeout=10)
        self.assertEqual((message.subject, message.data), ("news", b"hello\r\nworld"))
        await client.close()


if __name__ == "__main__":
    unittest.main()
