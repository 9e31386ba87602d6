"""A connection that is reset right after it was accepted (`fail_connections`), but not before its client knows of it.

That connecting succeeds is the system's doing. But a client in the server's own loop is told in the very turn of the
loop in which the server accepts: reset at once, it would find an error where it looks whether it is connected. So it is
given some turns, which cost nothing, and no time on a virtual clock, either.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Callable

from .connection import LINGER_NOT

__all__ = ["TurningAway"]

__unittest = True

# asyncio's open_connection() needs four, from the socket that is connected to the streams.
_TURNS = 10


class TurningAway:
    """The short life of one accepted socket; `ended` is called when it was reset."""

    __slots__ = ("accepted", "_loop", "_turns", "_handle", "_ended")

    def __init__(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket,
                 ended: Callable[[TurningAway], None]) -> None:
        self.accepted = accepted
        self._loop = loop
        self._turns = 0
        self._ended = ended
        self._handle = loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._turns += 1
        if self._turns < _TURNS:
            self._handle = self._loop.call_soon(self._turn)
        else:
            self.cancel()
            self._ended(self)

    def cancel(self) -> None:
        """Reset it now."""
        self._handle.cancel()
        self.accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.accepted.close()
