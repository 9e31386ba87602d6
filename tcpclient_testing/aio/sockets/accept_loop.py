"""Accepts clients on a loop that has no `add_reader`, such as the Proactor loop, which is the default on Windows.

There the system accepts in the background: `loop.sock_accept` begins that, and ends when there is a client. So the next
one is begun before anybody knows of it. A client for whom it is under way is not to be seen in the listening socket.

`sock_accept` is a coroutine that waits for one future. As in `Attaching`, that future resumes it: a task of ours would
be a task that the test sees.

    accepting --stop--> stopped
        `--the listening socket is closed, or the loop--> stopped
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Callable

from .listening import LINGER_RESET

__all__ = ["AcceptLoop"]

__unittest = True


class AcceptLoop:
    """Accepts the clients of one listening socket, one after another, from now on until `stop`.

    `accepted` is called with each client's socket and address. `failed` is called with the error if a client can't be
    accepted; then this goes on.
    """

    __slots__ = ("_listener", "_loop", "_accepted", "_failed", "_coroutine", "_awaited", "_stopped")

    def __init__(self, loop: asyncio.AbstractEventLoop, listener: socket.socket,
                 accepted: Callable[[socket.socket, Any], None], failed: Callable[[OSError], None]) -> None:
        self._listener = listener
        self._loop = loop
        self._accepted = accepted
        self._failed = failed
        self._coroutine: Coroutine[Any, Any, None] = self._accept()
        self._awaited: Any = None
        self._stopped = False
        self._resume()

    def stop(self) -> None:
        """Accept no more. The listening socket stays open. A client that nobody knows of yet is reset."""
        self._stopped = True
        awaited, self._awaited = self._awaited, None
        if awaited is None or self._loop.is_closed():
            return  # one of our functions stops this, and the coroutine sees that
        awaited.remove_done_callback(self._resume)
        self._coroutine.close()
        if not awaited.cancel() and not awaited.cancelled() and awaited.exception() is None \
                and isinstance(awaited.result(), tuple):
            with awaited.result()[0] as accepted:
                accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)

    async def _accept(self) -> None:
        while not self._stopped and self._listener.fileno() >= 0:
            try:
                accepted, peername = await self._loop.sock_accept(self._listener)
            except OSError as error:  # the client has gone meanwhile, or there is no descriptor left
                if self._listener.fileno() >= 0:
                    self._failed(error)
                    await self._next_turn()
            else:
                self._accepted(accepted, peername)

    def _next_turn(self) -> asyncio.Future[None]:
        turn = self._loop.create_future()
        self._loop.call_soon(_end, turn)
        return turn

    def _resume(self, _: object = None) -> None:
        if self._stopped:
            return  # since this was scheduled
        self._awaited = None
        try:
            awaited: Any = self._coroutine.send(None)
        except (StopIteration, asyncio.CancelledError):  # a loop that is being closed cancels what waits in it
            self._stopped = True
        else:
            self._awaited = awaited
            # As a task does with what it waits for: the Proactor's own task waits for the same future.
            awaited._asyncio_future_blocking = False
            awaited.add_done_callback(self._resume)


def _end(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)
