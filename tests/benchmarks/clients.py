"""The clients of the benchmarks: the same for every contestant, and as cheap as can be."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Callable, Optional

__all__ = ["InThread", "Sender", "receive_all", "resource_limit", "send_all", "talk"]

Address = tuple[str, int]


class Sender(asyncio.Protocol):
    """Sends `data`, and closes once `replies` bytes have come back; `closed` is done when the connection is gone."""

    def __init__(self, data: bytes, replies: int = 0) -> None:
        self.data = data
        self.replies = replies
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.transport: Optional[asyncio.Transport] = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(self.data)
        if not self.replies:
            transport.close()

    def data_received(self, data: bytes) -> None:
        self.replies -= len(data)
        if self.replies <= 0 and self.transport is not None:
            self.transport.close()

    def connection_lost(self, exc: Optional[BaseException]) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


class Asker(Sender):
    """Sends `data` again and again, each time that as many bytes have come back, `times` times in all."""

    def __init__(self, data: bytes, times: int) -> None:
        super().__init__(data, len(data))
        self.times = times

    def data_received(self, data: bytes) -> None:
        self.replies -= len(data)
        if self.replies or self.transport is None:
            return
        self.times -= 1
        if self.times:
            self.replies = len(self.data)
            self.transport.write(self.data)
        else:
            self.transport.close()


async def talk(address: Address, data: bytes, times: int) -> None:
    """Send `data` and wait for as much, `times` times; return when the connection is closed."""
    _, protocol = await asyncio.get_running_loop().create_connection(lambda: Asker(data, times), *address)
    await protocol.closed


def send_all(address: Address, data: memoryview) -> None:
    """Send `data` and close; blocks."""
    with socket.create_connection(address) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        connection.recv(1)


def receive_all(address: Address) -> int:
    """Read to the end of the stream, and return how many bytes came; blocks."""
    buffer, total = bytearray(256 * 1024), 0
    with socket.create_connection(address) as connection:
        while True:
            count = connection.recv_into(buffer)
            if not count:
                return total
            total += count


class InThread:
    """A blocking client in a thread; await `ended`."""

    def __init__(self, function: Callable[[], object]) -> None:
        self._function = function
        self._error: Optional[BaseException] = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except OSError as error:
            self._error = error

    async def ended(self) -> None:
        """Wait for the client's end; raise what it raised."""
        while self._thread.is_alive():
            await asyncio.sleep(0.001)
        if self._error is not None:
            raise self._error


def resource_limit(descriptors: int) -> int:
    """Allow so many open files, or as many as the system permits; return how many."""
    try:
        import resource
    except ImportError:
        return descriptors
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = descriptors if hard == resource.RLIM_INFINITY else min(descriptors, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
