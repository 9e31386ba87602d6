"""A server whose clients' asyncio streams are watched, and the steps of a test about them."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import unittest
from asyncio import open_connection
from typing import TYPE_CHECKING, Any

from tcpclient_testing.aio.streams.record import ClientStream
from tcpclient_testing.aio.streams.watch import StreamWatch

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "ORIGINAL", "RESET_ON_CLOSE", "Peer", "Server", "WatchedServerTestCase", "close", "tls_contexts", "turns", "until",
]

ORIGINAL = asyncio.StreamWriter
RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # for SO_LINGER


class Peer(asyncio.Protocol):
    """The server's side of one connection: answers whatever it gets, and closes when the client ends its stream."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.address = transport.get_extra_info("peername")
        self.server.peers.append(self)

    def data_received(self, data: bytes) -> None:
        self.transport.write(self.server.reply)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Server:
    """A server on a free port of the loopback interface, and the watch over its clients; an async context."""

    def __init__(self, reply: bytes = b"hello, client!", *, ssl: Any = None, host: str = "127.0.0.1") -> None:
        self.reply, self.ssl, self.host = reply, ssl, host
        self.peers: list[Peer] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Peer(self), self.host, 0, ssl=self.ssl)
        self.address = self.server.sockets[0].getsockname()[:2]
        self.watch = StreamWatch(lambda address: address == self.address)
        self.watch.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self.watch.stop()
        self.server.close()
        for peer in self.peers:
            peer.transport.abort()
        await turns()

    def stream(self, writer: asyncio.StreamWriter) -> ClientStream:
        """Return the record of that writer."""
        stream = self.watch.stream_of(writer.get_extra_info("sockname"))
        assert stream is not None
        return stream


async def turns(count: int = 20) -> None:
    """Let the loop turn."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Any) -> None:
    """Wait until something that no event announces has become true; five seconds at most."""

    async def look() -> None:
        while not condition():
            await asyncio.sleep(0)

    await asyncio.wait_for(look(), 5)


async def close(writer: asyncio.StreamWriter) -> None:
    """Do what a client should."""
    writer.close()
    await writer.wait_closed()


def tls_contexts() -> tuple[Any, dict[str, Any]]:
    """Return a server's context, and the arguments of a client."""
    from tcpclient_testing import tls

    return tls.server_context(), {"ssl": tls.client_context(), "server_hostname": "localhost"}


class WatchedServerTestCase(unittest.IsolatedAsyncioTestCase):
    """A test with a server whose clients are watched."""

    async def asyncSetUp(self) -> None:
        context = contextlib.AsyncExitStack()
        self.addAsyncCleanup(context.aclose)
        self.server = await context.enter_async_context(Server())

    async def connect(self, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter, ClientStream]:
        """Connect a client, and return its record too."""
        reader, writer = await open_connection(*self.server.address, **options)
        await until(lambda: self.server.peers)
        return reader, writer, self.server.stream(writer)
