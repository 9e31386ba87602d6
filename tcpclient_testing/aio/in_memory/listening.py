"""Listening sockets in memory. Each keeps a port of the operating system, at which nobody listens.

So the port is nobody else's, and whoever connects to it past the loop is refused at once: a blocking client, another
process, or another loop.

    listening --refuse--> refusing --listen--> listening
        `--close--> closed
"""

from __future__ import annotations

import errno
import itertools
import os
import socket
from collections import deque
from typing import Any, Callable, NoReturn, Optional

from tcpclient_testing.aio.native.originals import Socket
from tcpclient_testing.aio.sockets.listening import check_port, taken
from tcpclient_testing.errors import ScriptError

from .sockets import Address, MemorySocket, connected_pair

__all__ = ["HOST", "HOST_6", "MemoryListener", "listen_in_memory", "refuse_options"]

__unittest = True

#: Where clients find a server in memory, in either family.
HOST, HOST_6 = "127.0.0.1", "::1"

# The range that Linux gives to clients by default (ip_local_port_range, ip(7)).
_client_ports = itertools.cycle(range(32768, 61000))


def _nothing() -> None:
    """Nobody wants to know."""


class MemoryListener:
    """A listening socket: what the server's reception needs of one. `keeper` is bound to its address."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, keeper: socket.socket) -> None:
        self.address: Address = keeper.getsockname()
        self._keeper = keeper
        self._backlog: deque[tuple[MemorySocket, Address]] = deque()
        self._listening = True
        self._readable: Callable[[], None] = _nothing
        self._number = keeper.fileno()

    def connect(self, address: Address, local: Optional[Address]) -> MemorySocket:
        """Connect a client to this listener's `address`, from `local` if that is given; return its end.

        Raises `ConnectionRefusedError` while nobody listens.
        """
        if not self._listening:
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address}")
        if local is None:
            local = (HOST, 0) if len(address) == 2 else (HOST_6, 0, 0, 0)
        if not local[1]:
            local = (local[0], next(_client_ports), *local[2:])
        client, server = connected_pair(local, address)
        self._backlog.append((server, local))
        self._readable()
        return client

    # What an event loop asks.

    def watch(self, readable: Optional[Callable[[], None]] = None,
              writable: Optional[Callable[[], None]] = None) -> None:
        """Call `readable` when a client may wait."""
        self._readable = readable or self._readable

    @property
    def can_read(self) -> bool:
        """Whether a client waits."""
        return bool(self._backlog)

    @property
    def can_write(self) -> bool:
        """Never: a listening socket can't be written."""
        return False

    # What the reception calls.

    def accept(self) -> tuple[MemorySocket, Address]:
        """Return the server's end of a connection, and its client's address. Raises `BlockingIOError` if none waits."""
        if not self._backlog:
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        return self._backlog.popleft()

    def listen(self, backlog: int = 0) -> None:
        """Let clients connect."""
        self._listening = True

    def refuse(self) -> None:
        """Let no client connect, and reset those that wait."""
        self._listening = False
        while self._backlog:
            waiting, _ = self._backlog.popleft()
            waiting.reset()

    def fileno(self) -> int:
        """The number that stands for this socket; -1 if it is closed."""
        return self._number

    def getsockname(self) -> Address:
        """Its address."""
        return self.address

    def close(self) -> None:
        """Let no client connect any more, reset those that wait, and give the port up."""
        self.refuse()
        self._number = -1
        self._keeper.close()

    def detach(self) -> int:
        """In a forked child: give up the copy of the port's descriptor."""
        self._number = -1
        return self._keeper.detach()


def listen_in_memory(host: Optional[str], port: int) -> MemoryListener:
    """Listen at this port; 0 means any that is free. Raises `OSError` if it is taken."""
    if host not in (None, "localhost", HOST):
        _refuse(f"host={host!r}")
    check_port(port)
    try:
        return MemoryListener(_keep(port))
    except OSError as error:
        raise taken(error, HOST, port) from None


def _keep(port: int) -> socket.socket:
    """Bind a socket to this port, or to any if it is 0, so that nobody else can."""
    for last in (not port, True):
        keeper = Socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            elif port and last:  # perhaps the port only has connections of an earlier server in TIME_WAIT
                keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            keeper.bind((HOST, port))
            return keeper
        except BaseException as error:
            keeper.close()
            if last or not isinstance(error, OSError):
                raise
    raise AssertionError("unreachable")


def _refuse(option: str) -> NoReturn:
    raise ScriptError(f"{option} can't be had with in_memory=True: the server is at {HOST}, and no operating system "
                      "knows of it")


def refuse_options(**options: Any) -> None:
    """Raise `ScriptError` for an option that needs an operating system."""
    for name, value in options.items():
        if value:
            _refuse(f"{name}={value!r}")
