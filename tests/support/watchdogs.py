"""What tests of the watchdog share: a server that it watches over, and its threads."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import unittest
from typing import Any, Optional

from tcpclient_testing.aio.process.blocked_call import BlockedCall, free_sockets, readable
from tcpclient_testing.aio.process.watchdog import watch

from .platforms import HAS_PROC

__all__ = [
    "TIMEOUT", "LONGER", "SHORTEST", "AGAIN", "BOUND", "watchdogs", "Connection", "Server", "linux", "receive_in_vain",
]

TIMEOUT = 0.02
# For what is left alone: a machine that stands still for so long must not look like a loop that does.
LONGER = 0.1
# The time between two looks, and what a busy machine adds.
SHORTEST = 0.005
AGAIN = 0.01
BOUND = 20.0
linux = unittest.skipUnless(HAS_PROC, "needs a clock for each thread, and /proc")


def watchdogs() -> list[threading.Thread]:
    """Return the watchdog's threads that live."""
    return [thread for thread in threading.enumerate() if getattr(thread, "tcpclient_testing_owned", False)]


class Connection(asyncio.Protocol):
    """One connection of a server that never answers."""

    def __init__(self, server: Server) -> None:
        self.server = server

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport
        self.server.connections.add(self)
        self.server.accepted.set()

    def connection_lost(self, exception: Optional[Exception]) -> None:
        self.server.connections.discard(self)


class Server:
    """A plain asyncio server that never answers, under watch."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.freed: list[BlockedCall] = []
        self.asked = 0
        self.unread: list[list[bytes]] = []
        self.reset_from = 2
        self.accepted = asyncio.Event()
        self.connections: set[Connection] = set()

    async def __aenter__(self) -> Server:
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: Connection(self), "127.0.0.1", 0)
        self.address = self.server.sockets[0].getsockname()
        self.watch = watch(loop, threading.get_ident(), self.timeout, self._attention, self._free)
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.watch.stop()
        self.server.close()
        while self.connections:
            for connection in self.connections:
                connection.transport.abort()
            await asyncio.sleep(0)
        await asyncio.sleep(0)

    def connect(self) -> socket.socket:
        """Connect a blocking client."""
        return socket.create_connection(self.address, timeout=20)

    def _sockets(self) -> list[Any]:
        return [connection.transport.get_extra_info("socket") for connection in self.connections]

    def _attention(self) -> bool:
        self.asked += 1
        return readable([*self._sockets(), *self.server.sockets])

    def _free(self, blocked: BlockedCall) -> None:
        self.freed.append(blocked)
        self.unread.append(free_sockets(self._sockets(), self.server.sockets, reset=blocked.attempt >= self.reset_from))


def receive_in_vain(server: Any, client: socket.socket) -> bytes:
    """Receive from the server whose loop this blocks, with a time-out: it ends as soon as the watchdog has noticed."""
    client.settimeout(0.01)
    deadline = time.monotonic() + 20
    while True:
        try:
            return client.recv(1)
        except socket.timeout:
            if server._runtime._guard._watch._noticed is not None or time.monotonic() > deadline:
                raise
