"""Resets a connection right after it was accepted (`fail_connections`), but lets its client see the connect succeed.

The operating system completes the connect by itself. But a client in the server's own loop learns of it in the same
turn of the loop in which the server accepts. After a reset at once, the client would find an error when it checks
whether it is connected. So the reset waits for some turns of the loop. They cost nothing, and take no time on a virtual
clock either.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Callable

from .connection import LINGER_NOT

__all__ = ["TurningAway"]

__unittest = True

# asyncio's open_connection() needs four turns between the connected socket and the streams.
_TURNS = 10


class TurningAway:
    """One accepted socket, to be reset after some turns of `loop`. `ended` is called then, but not after `cancel`."""

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
        """Reset the connection now."""
        self._handle.cancel()
        self.accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        self.accepted.close()
