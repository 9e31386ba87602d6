"""Small conversations with a server that is cleared between them, and asyncio clients for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tcpclient_testing import MockTCPServer

__all__ = ["ask", "client", "connect", "exchange", "say"]


def exchange(server: MockTCPServer, **timing: Any) -> None:
    """PING, PONG, and the client closes; `timing` is that of the expectations."""
    server.expect_connect(**timing)
    server.expect_line(b"PING", **timing)
    server.send_line(b"PONG")
    server.expect_disconnect()


async def connect(server: MockTCPServer, **options: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect a client."""
    if server.unix_path is not None:
        return await asyncio.open_unix_connection(server.unix_path, **options)
    return await asyncio.open_connection(*server.address, **options)


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close a client."""
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()


@asynccontextmanager
async def client(server: MockTCPServer, **options: Any) -> AsyncIterator[
        tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """Connect a client, and close it at the end."""
    reader, writer = await connect(server, **options)
    try:
        yield reader, writer
    finally:
        await _close(writer)


async def ask(server: MockTCPServer, line: bytes = b"PING", **options: Any) -> bytes:
    """Let a client ask, and return the reply; b"" after a reset."""
    async with client(server, **options) as (reader, writer):
        writer.write(line + b"\r\n")
        with contextlib.suppress(ConnectionError):
            return await reader.readline()
    return b""


async def say(server: MockTCPServer, data: bytes = b"") -> None:
    """Let a client come, say something, and go."""
    async with client(server) as (_, writer):
        writer.write(data)
