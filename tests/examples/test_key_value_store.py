"""A tiny key-value store as a handler: a fake with a state, where a script would be the wrong tool.

A blocking client talks to it, so the server lives in a thread of its own; the handler is a coroutine function all the
same. The login is scripted, the rest is the handler's.
"""

from __future__ import annotations

import socket
import unittest

from tcpclient_testing import Connection, ThreadedMockTCPServer


class StoreClient:
    """The client under test: SET, GET and QUIT, in lines."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port), timeout=10)
        self.file = self.socket.makefile("rb")

    def ask(self, request: str) -> str:
        """Send a request and return the reply."""
        self.socket.sendall(f"{request}\r\n".encode())
        return self.file.readline().decode().rstrip("\r\n")

    def login(self, user: str) -> None:
        """Say who we are."""
        if self.ask(f"LOGIN {user}") != "OK":
            raise PermissionError(user)

    def close(self) -> None:
        """Say goodbye."""
        self.file.close()
        self.socket.close()


class Store:
    """The fake: what all its connections have stored."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}

    async def serve(self, connection: Connection) -> None:
        """Serve one connection until the client goes, or sends QUIT."""
        async for line in connection.lines():
            command, _, rest = line.partition(b" ")
            if command == b"SET":
                key, _, value = rest.partition(b" ")
                self.values[key] = value
                connection.send_line(b"OK")
            elif command == b"GET":
                connection.send_line(self.values.get(rest, b"(nothing)"))
            elif command == b"QUIT":
                return
            else:
                raise ValueError(f"what is {line!r}?")


class StoreTests(unittest.TestCase):
    """The client against the store."""

    def setUp(self) -> None:
        self.store = Store()

    def test_two_clients_share_the_store(self) -> None:
        """What one client has stored, another one reads."""
        with ThreadedMockTCPServer(handler=self.store.serve) as server:
            for request, reply in (("SET colour blue", "OK"), ("GET colour", "blue"), ("GET size", "(nothing)")):
                client = StoreClient(*server.address)
                self.assertEqual(client.ask(request), reply)
                client.close()
        self.assertEqual(self.store.values, {b"colour": b"blue"})

    def test_login_by_script_and_the_rest_by_handler(self) -> None:
        """The script has the login answered once with NO; then the handler serves."""
        with ThreadedMockTCPServer() as server:
            server.expect_connect()
            server.expect_line(b"LOGIN eve")
            server.send_line(b"NO")
            server.expect_line(b"LOGIN ann")
            server.send_line(b"OK")
            server.hand_over(self.store.serve)
            client = StoreClient(*server.address)
            with self.assertRaises(PermissionError):
                client.login("eve")
            client.login("ann")
            self.assertEqual(client.ask("SET a 1"), "OK")
            client.close()
