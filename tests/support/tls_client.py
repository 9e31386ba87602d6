"""A client that speaks TLS step by step, so that a test decides how it ends: with an alert, a FIN, a reset, half."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from typing import Any, ClassVar

from tcpclient_testing import tls

#: What a client reads when the server has ended its stream by a bare FIN, where a close_notify gives b"".
FIN = b"FIN"


class TLSClient:
    """One connection; `close` it in the end, with a FIN, or `close_all`. It lives in the running loop, in no thread."""

    opened: ClassVar[list[socket.socket]] = []

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, hostname: str) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=hostname)
        self.loop = asyncio.get_running_loop()
        TLSClient.opened.append(sock)

    @classmethod
    async def connect(cls, server: Any, context: ssl.SSLContext | None = None, hostname: str = "localhost",
                      shake: bool = True) -> TLSClient:
        """Connect to `server`, and shake hands unless told not to; raises `ssl.SSLError` where that fails."""
        unix = server.unix_path is not None
        sock = socket.socket(socket.AF_UNIX if unix else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        if not unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as asyncio's clients do
        client = cls(sock, context or tls.client_context(), hostname)
        await client.loop.sock_connect(sock, server.address)
        if shake:
            await client.handshake()
        return client

    @classmethod
    def close_all(cls) -> None:
        """Close every client that there was."""
        while cls.opened:
            cls.opened.pop().close()

    def begin_handshake(self) -> None:
        """Write the first message of a handshake, and leave it to the caller to send it."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()

    async def handshake(self) -> None:
        """Shake hands; if this side refuses, its alert goes out. Raises what `ssl` raises, or ConnectionError."""
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                if await self.fill() is FIN:
                    raise ConnectionAbortedError("the server ended the handshake") from None
            except ssl.SSLError:
                await self.flush()
                raise
            else:
                await self.flush()
                return

    async def send(self, data: bytes) -> None:
        """Send all of `data`."""
        view = memoryview(data)
        while view:
            view = view[self.tls.write(view):]
            await self.flush()

    async def receive(self, size: int = 65536) -> bytes:
        """Return what comes next: b"" after a close_notify, FIN after a bare one."""
        while True:
            try:
                return self.tls.read(size)
            except ssl.SSLZeroReturnError:
                return b""
            except ssl.SSLWantReadError:
                if await self.fill() is FIN:
                    return FIN

    async def receive_exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        data = b""
        while len(data) < size:
            more = await self.receive(size - len(data))
            if more in (b"", FIN):
                raise AssertionError(f"the server's stream ended after {data!r}")
            data += more
        return data

    async def fill(self) -> bytes:
        """Take what comes from the wire."""
        data = await self.loop.sock_recv(self.sock, 65536)
        self.incoming.write(data)
        return data or FIN

    async def flush(self) -> None:
        """Put on the wire what waits for it."""
        await self.loop.sock_sendall(self.sock, self.outgoing.read())

    async def say_goodbye(self) -> None:
        """Send a close_notify, and leave the connection open."""
        try:
            self.tls.unwrap()
        except ssl.SSLError:
            pass
        await self.flush()

    def reset(self) -> None:
        """Reset the connection."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        """Close the socket; without `say_goodbye`, that is a bare FIN."""
        self.sock.close()

    async def leave(self) -> None:
        """A close_notify, and a FIN."""
        await self.say_goodbye()
        self.close()
