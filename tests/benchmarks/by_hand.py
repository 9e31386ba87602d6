"""The servers that one would write by hand: with asyncio's streams, and as a protocol."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable, Optional

__all__ = ["Comparing", "StreamServer", "listen_raw"]

BACKLOG = 1024


class StreamServer:
    """`asyncio.start_server` with a handler, and what a careful author adds: the handler's outcome, and the end.

    Use it as ``async with StreamServer(handler) as server``; leaving it waits for the handlers and raises the first
    of their exceptions.
    """

    def __init__(self, handler: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any],
                 backlog: int = 100) -> None:
        self._handler = handler
        self._backlog = backlog
        self._handlers: list[asyncio.Task[Any]] = []
        self.address = ("", 0)

    async def __aenter__(self) -> StreamServer:
        self._server = await asyncio.start_server(self._run, "127.0.0.1", 0, backlog=self._backlog)
        self.address = self._server.sockets[0].getsockname()
        return self

    async def _run(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handlers.append(task)
        try:
            await self._handler(reader, writer)
        finally:
            writer.close()

    async def __aexit__(self, *exc_info: object) -> None:
        self._server.close()
        for handler in self._handlers:
            await handler


class Comparing(asyncio.BufferedProtocol):
    """A protocol that compares the stream with `expected`, and sends `reply` after each `every` bytes.

    `ended` is done when the client has ended its stream, or has sent something else.
    """

    _shared = memoryview(bytearray(256 * 1024))

    def __init__(self, expected: bytes, reply: bytes = b"", every: int = 0) -> None:
        self.expected = expected
        self.reply = reply
        self.every = every or len(expected)
        self.next_reply = self.every
        self.offset = 0
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Optional[asyncio.Transport] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared

    def buffer_updated(self, nbytes: int) -> None:
        if not self.expected.startswith(self._shared[:nbytes], self.offset):
            if not self.ended.done():
                self.ended.set_exception(AssertionError(f"difference after byte {self.offset}"))
            return
        self.offset += nbytes
        if self.reply and self.offset >= self.next_reply and self.transport is not None:
            self.next_reply += self.every
            self.transport.write(self.reply)

    def eof_received(self) -> None:
        if not self.ended.done():
            if self.offset == len(self.expected):
                self.ended.set_result(None)
            else:
                self.ended.set_exception(AssertionError(f"ended after byte {self.offset}"))

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if not self.ended.done():
            self.ended.set_exception(exc or AssertionError("closed"))


async def listen_raw(factory: Callable[[], asyncio.BaseProtocol]) -> tuple[asyncio.AbstractServer, tuple[str, int]]:
    """Serve a protocol on a listening socket made by hand, as somebody who cares for speed does."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    address = listener.getsockname()
    return await asyncio.get_running_loop().create_server(factory, sock=listener, backlog=BACKLOG), address
