"""Watches for the reset of a client that has ended its stream before.

A client that half-closes can still reset the connection: by closing with data unread (RFC 1122, 4.2.2.13), or with
SO_LINGER of 0 (socket(7)). asyncio doesn't look at a socket any more that has seen a FIN, which makes it readable for
ever; but an epoll that asks for nothing is told of errors and of hang-ups all the same (epoll_ctl(2)), and can be
waited for as any descriptor. Where there is none, the socket is asked for its error, again and again.

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
    """Tells a connection when its client resets it, or has closed it, which no reset follows."""

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
            except OSError:  # too many descriptors are open
                self._poll = None
        self._looks.begin()

    def cancel(self) -> None:
        """Watch no more, and tell nobody."""
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
            protocol.reset_came()  # the server's side is open: a hang-up is a RST
        else:
            protocol.no_reset_comes()
