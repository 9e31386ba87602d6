"""A short conversation with a server in a thread: its script, and the client that keeps to it."""

from __future__ import annotations

from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
from tests.support.blocking import connect

__all__ = ["greet", "script_greeting"]


def greet(address: tuple[str, int]) -> bytes:
    """A client that does what most of these scripts say."""
    with connect(address) as client:
        client.sendall(b"hello")
        return client.recv(100)


def script_greeting(server: ThreadedMockTCPServer) -> None:
    """Script what `greet` does."""
    server.expect_connect()
    server.expect_bytes(b"hello")
    server.send_bytes(b"welcome")
    server.expect_disconnect()
