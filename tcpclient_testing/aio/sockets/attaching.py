"""What follows accept(2): gives an accepted socket its protocol, or resets it (`fail_connections`).

`connect_accepted_socket` is a coroutine that waits for one future. A task around it would cost one turn of the loop.
In debug mode, which unittest turns on, it would also cost two stack captures for each connection. So there is no task:
the futures that the coroutine waits for resume it.

    under way --the coroutine returns, raises, or is cancelled--> ended

A connection that `fail_connections` resets lets its client see the connect succeed. The operating system completes the
connect by itself. But a client in the server's own loop learns of it in the same turn of the loop in which the server
accepts. After a reset at once, the client would find an error when it checks whether it is connected. So the reset
waits for some turns of the loop. They cost nothing, and take no time on a virtual clock either.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Callable

from .listening import LINGER_RESET

__all__ = ["Attaching", "DelayedReset"]

__unittest = True

# asyncio's open_connection() needs four turns between the connected socket and the streams.
_TURNS = 10


class Attaching:
    """Drives the coroutine `attaching`, a call of `connect_accepted_socket` for one accepted socket, in `loop`.

    Call `proceed()` once to start it.

    `ended` is called with this object when the coroutine has returned or raised. If it raised, the socket is closed.
    """

    __slots__ = ("accepted", "_loop", "_coroutine", "_ended")

    def __init__(self, loop: asyncio.AbstractEventLoop, attaching: Coroutine[Any, Any, Any],
                 accepted: socket.socket, ended: Callable[[Attaching], None]) -> None:
        self.accepted = accepted
        self._loop = loop
        self._ended = ended
        self._coroutine = attaching

    def proceed(self, _: object = None) -> None:
        """Resume the coroutine. Call this once; the futures that the coroutine waits for call it from then on."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._ended(self)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - the client is gone already: no error of ours
            self.accepted.close()
            self._ended(self)
        else:
            if awaited is None:  # a bare ``yield``, as in `asyncio.sleep(0)`
                self._loop.call_soon(self.proceed)
            else:
                awaited.add_done_callback(self.proceed)

    def abandon(self) -> None:
        """In a forked child: close our copy of the socket, and do nothing else."""
        self.accepted.close()
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._coroutine.close()

    def cancel(self) -> None:
        """Close the coroutine and the socket; `ended` is not called.

        Only on asyncio's own loops. Other loops may not survive a coroutine that ends early (uvloop 0.23 crashes).
        There the coroutine runs on, and the protocol aborts when it gets its transport.
        """
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._coroutine.close()
            self.accepted.close()


class DelayedReset:
    """One accepted socket, to be reset after some turns of `loop`. `ended` is called then, but not after `cancel`."""

    __slots__ = ("accepted", "_loop", "_turns", "_handle", "_ended")

    def __init__(self, loop: asyncio.AbstractEventLoop, accepted: socket.socket,
                 ended: Callable[[DelayedReset], None]) -> None:
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

    def abandon(self) -> None:
        """In a forked child: close our copy of the socket. SO_LINGER would be set for the parent's, too."""
        self._handle.cancel()
        self.accepted.close()

    def cancel(self) -> None:
        """Reset the connection now."""
        self._handle.cancel()
        if self.accepted.fileno() >= 0:
            self.accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self.accepted.close()
