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
from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .connection import ConnectionProtocol

__all__ = ["ResetWatch"]

__unittest = True

# How far apart looks are where the kernel does not wake us (seconds).
_SHORTEST, _LONGEST = 0.001, 0.05


class ResetWatch:
    """Tells a connection when its client resets it, or has closed it, which no reset follows."""

    __slots__ = ("_protocol", "_raw", "_poll", "_timer", "_since")

    def __init__(self, protocol: ConnectionProtocol, transport: asyncio.Transport) -> None:
        self._protocol = protocol
        self._raw: Any = transport.get_extra_info("socket")
        self._poll: Any = None
        self._timer: Optional[asyncio.TimerHandle] = None
        self._since = protocol.loop.time()
        if sys.platform == "linux":
            try:
                self._poll = select.epoll()
                self._poll.register(self._raw.fileno(), 0)
                protocol.loop.add_reader(self._poll.fileno(), self._look)
                return
            except OSError:  # too many descriptors are open
                self._poll = None
        self._look_later()

    def cancel(self) -> None:
        """Watch no more, and tell nobody."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._poll is not None:
            self._protocol.loop.remove_reader(self._poll.fileno())
            self._poll.close()
            self._poll = None

    def _look_later(self) -> None:
        loop = self._protocol.loop
        wait = min(max((loop.time() - self._since) / 4, _SHORTEST), _LONGEST)
        self._timer = loop.call_later(wait, self._look)

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
            self._look_later()
            return
        self.cancel()
        if error or isinstance(protocol.peername, tuple):
            protocol.reset_came()  # the server's side is open: a hang-up is a RST
        else:
            protocol.no_reset_comes()
