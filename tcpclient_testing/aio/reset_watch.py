"""Watches for a reset by a client that has already ended its stream.

A client that half-closes can still reset the connection: by closing with unread data (RFC 1122, 4.2.2.13), or with
SO_LINGER of 0 (socket(7)).

After a FIN asyncio no longer watches the socket, which is readable for ever. But an epoll that is registered for no
events still reports errors and hang-ups (epoll_ctl(2)), and the loop can watch its descriptor like any other. Without
epoll, poll the socket for its error.

    watching --the kernel has an error, or a hang-up--> reset, or (a Unix-domain socket) closed
        `--the connection is lost--> cancelled
"""

from __future__ import annotations

import asyncio
import select
import socket
import sys
from typing import TYPE_CHECKING, Any

from .looking import Looks

if TYPE_CHECKING:
    from .connection import ConnectionProtocol

__all__ = ["ResetWatch"]

__unittest = True

class ResetWatch:
    """Reports to a connection that its client has reset it, or has closed it (no reset can follow a close)."""

    __slots__ = ("_protocol", "_raw", "_poll", "_looks")

    def __init__(self, protocol: ConnectionProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._raw: Any = transport.get_extra_info("socket")
        self._poll: Any = None
        self._looks = Looks(protocol.loop, self._look, longest=0.05)
        if sys.platform == "linux":
            try:
                self._poll = select.epoll()
                self._poll.register(self._raw.fileno(), 0)
                protocol.loop.add_reader(self._poll.fileno(), self._look)
                return
            except OSError:  # too many descriptors are open: poll instead
                self._poll = None
        self._looks.begin()

    def cancel(self) -> None:
        """Stop watching, and report nothing."""
        self._looks.cancel()
        if self._poll is not None:
            self._protocol.loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def _look(self) -> None:
        protocol, woken = self._protocol, self._poll is not None
        if protocol.over:
            self.cancel()
            return
        try:
            error = bool(self._raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
        except (OSError, ValueError, AttributeError):
            error = False
        if not (error or woken):
            self._looks.again()
            return
        self.cancel()
        if error or isinstance(protocol.peername, tuple):
            protocol.reset_came()  # the server's side is still open, so that a hang-up means a RST
        else:
            protocol.no_reset_comes()
