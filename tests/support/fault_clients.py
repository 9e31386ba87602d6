"""Clients that tell how a connection ended for them: what they read, in which pieces, and what came then."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
from typing import Any

from .streams import close

__all__ = ["CLIENTS", "Seen", "ends_of_a_reset", "with_a_thread", "with_streams"]


class Seen:
    """`data` in reads of `sizes`; then `end`: "end", "timeout", or the exception's name; `code` is its errno's name.

    `error` is the exception itself, or None.
    """

    def __init__(self) -> None:
        self.data = b""
        self.sizes: list[int] = []
        self.end = "end"
        self.code = ""
        self.error: Any = None

    def read(self, data: bytes) -> bytes:
        """Take what a read gave."""
        self.data += data
        if data:
            self.sizes.append(len(data))
        return data

    def failed(self, error: BaseException) -> None:
        """Take what it raised."""
        self.error = error
        timed_out = isinstance(error, (socket.timeout, asyncio.TimeoutError, TimeoutError))
        self.end = "timeout" if timed_out else type(error).__name__
        self.code = errno.errorcode.get(getattr(error, "errno", None) or 0, "")


def _blocking(address: Any, context: Any, timeout: float, after: int, request: bytes) -> Seen:
    seen = Seen()
    try:
        with socket.create_connection(address, timeout=30) as plain:
            client = plain if context is None else context.wrap_socket(plain, server_hostname="localhost")
            with client:
                client.sendall(request)
                reading = True
                while reading:
                    client.settimeout(timeout if len(seen.data) >= after else 30)
                    reading = bool(seen.read(client.recv(1000)))
    except OSError as error:
        seen.failed(error)
    return seen


async def with_a_thread(address: Any, context: Any = None, *, timeout: float = 30, after: int = 0,
                        request: bytes = b"") -> Seen:
    """A blocking client in another thread, which begins with its request; with a context, of `ssl`."""
    return await asyncio.get_running_loop().run_in_executor(None, _blocking, address, context, timeout, after, request)


async def with_streams(address: Any, context: Any = None, *, timeout: float = 30, after: int = 0) -> Seen:
    """A client with asyncio's streams."""
    seen = Seen()
    options = {} if context is None else {"ssl": context, "server_hostname": "localhost"}
    try:
        reader, writer = await asyncio.open_connection(*address, **options)
    except OSError as error:
        seen.failed(error)
        return seen
    try:
        reading = True
        while reading:
            patience = timeout if len(seen.data) >= after else 30
            reading = bool(seen.read(await asyncio.wait_for(reader.read(1000), patience)))
    except (OSError, asyncio.TimeoutError) as error:
        seen.failed(error)
    finally:
        await close(writer)
    return seen


#: Each kind of client by its name: a coroutine function of the address and, for TLS, the context,
#: whose `timeout` is that of each read in seconds, once `after` bytes have come, and 30 until then.
CLIENTS = {"streams": with_streams, "thread": with_a_thread}


def ends_of_a_reset(client: str, *, tls: bool) -> tuple[str, ...]:
    """What a reset may be to such a client.

    It is ECONNRESET, but for blocking clients of `ssl` with OpenSSL 3 on Python 3.10, 3.11 to 3.11.8 and 3.12 to
    3.12.2, and on PyPy: these lose the error's number and take the reset for an end without close_notify, which
    ``SSLSocket.recv`` gives as b"" (https://github.com/python/cpython/issues/115627).
    """
    if not tls or client != "thread" or ssl.OPENSSL_VERSION_INFO < (3,):
        return ("ConnectionResetError",)
    mended = sys.implementation.name == "cpython" and (
        sys.version_info >= (3, 12, 3) or (3, 11, 9) <= sys.version_info < (3, 12))
    return ("ConnectionResetError",) if mended else ("end", "ConnectionResetError")
