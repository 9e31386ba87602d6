"""Small clients, written once as lists of operations, and run by asyncio's streams or by a blocking socket."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from typing import Any, Callable, NamedTuple, Optional

from tcpclient_testing.tls import client_context

#: What a client does with its connection, one after another.
Program = tuple["Operation", ...]

_PATIENCE = 20.0  # seconds; no client of a case that passes comes near


class Operation(NamedTuple):
    """One thing that a client does: its name, and what it needs."""

    name: str
    value: Any = None


CLOSE = Operation("close")  # and wait until it is closed
DROP = Operation("drop")  # close without waiting for that
END = Operation("end")  # half-close
RESET = Operation("reset")
READ_END = Operation("read_end")  # read until the server ends


def send(data: bytes) -> Operation:
    """Send bytes."""
    return Operation("send", data)


def read(n: int) -> Operation:
    """Read exactly n bytes."""
    return Operation("read", n)


def read_slowly(n: int) -> Operation:
    """Read exactly n bytes in twenty pieces, with 20 ms before each."""
    return Operation("read_slowly", n)


def do(function: Callable[[], Any]) -> Operation:
    """Call a function, which may raise."""
    return Operation("do", function)


def _context(tls: Any) -> Optional[ssl.SSLContext]:
    return client_context() if tls is True else tls or None


class StreamClient:
    """A client that uses asyncio's streams. What it has got is in `got`."""

    def __init__(self, address: Any, tls: Any = None) -> None:
        self.got = b""
        self._address = address
        self._tls = _context(tls)
        self._reader: asyncio.StreamReader
        self._writer: Optional[asyncio.StreamWriter] = None

    async def connect(self) -> None:
        """Connect, if it is not connected yet."""
        if self._writer is None:
            if isinstance(self._address, str):
                self._reader, self._writer = await asyncio.open_unix_connection(self._address)
            else:
                options: dict[str, Any] = {} if self._tls is None else {
                    "ssl": self._tls, "server_hostname": "localhost"}
                self._reader, self._writer = await asyncio.open_connection(*self._address, **options)

    async def run(self, program: Program) -> bytes:
        """Do these things. Return all that the client has got so far."""
        await self.connect()
        writer = self._writer
        assert writer is not None
        for name, value in program:
            if name == "send":
                writer.write(value)
                await writer.drain()
            elif name == "read":
                self.got += await self._reader.readexactly(value)
            elif name == "read_slowly":
                for _ in range(20):
                    await asyncio.sleep(0.02)
                    self.got += await self._reader.readexactly(value // 20)
            elif name == "read_end":
                self.got += await self._reader.read()
            elif name == "end":
                writer.write_eof()
            elif name == "reset":
                sock = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.close()
                if hasattr(asyncio.get_running_loop(), "_proactor"):
                    sock._sock.close()  # its transport would shut the socket down first: a FIN, and no RST
                await asyncio.wait([asyncio.ensure_future(writer.wait_closed())])
            elif name == "do":
                value()
            else:
                writer.close()
                if name == "close":
                    await writer.wait_closed()
        return self.got

    def abort(self) -> None:
        """End it somehow."""
        if self._writer is not None:
            # A transport that was closed while it had more to write, and has written that, can't be aborted (asyncio).
            with contextlib.suppress(AttributeError):
                self._writer.transport.abort()


class SocketClient:
    """A client that blocks on a socket. What it has got is in `got`."""

    def __init__(self, address: Any, tls: Any = None) -> None:
        self.got = b""
        self._address = address
        self._tls = _context(tls)
        self._socket: Optional[socket.socket] = None

    def connect(self) -> None:
        """Connect, if it is not connected yet."""
        if self._socket is not None:
            return
        if isinstance(self._address, str):
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._socket.settimeout(_PATIENCE)
            self._socket.connect(self._address)
            return
        raw = socket.create_connection(self._address, timeout=_PATIENCE)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = raw
        if self._tls is not None:
            try:
                self._socket = self._tls.wrap_socket(raw, server_hostname="localhost")
            except BaseException:
                raw.close()
                raise

    def run(self, program: Program) -> bytes:
        """Do these things. Return all that the client has got so far."""
        self.connect()
        sock = self._socket
        assert sock is not None
        for name, value in program:
            if name == "send":
                sock.sendall(value)
            elif name == "read":
                self._read(sock, len(self.got) + value)
            elif name == "read_slowly":
                for _ in range(20):
                    time.sleep(0.02)
                    self._read(sock, len(self.got) + value // 20)
            elif name == "read_end":
                self._read(sock, None)
            elif name == "end":
                sock.shutdown(socket.SHUT_WR)
            elif name == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                sock.close()
            elif name == "do":
                value()
            else:
                sock.close()
        return self.got

    def _read(self, sock: socket.socket, size: Optional[int]) -> None:
        while size is None or len(self.got) < size:
            data = sock.recv(65536 if size is None else size - len(self.got))
            if not data:
                if size is not None:
                    raise EOFError(f"the server ended its stream after {self.got!r}")
                return
            self.got += data

    def abort(self) -> None:
        """End it somehow."""
        if self._socket is not None:
            self._socket.close()
