"""Finds out when a loop is at rest: no callback is ready and no socket is, so only time or another thread goes on.

    at rest? --something is ready--> look again in the next turn
       `-----nothing is, twice-----> the callbacks are called

In a turn of asyncio's loops the sockets that have become ready come after the callbacks that were scheduled before. So
if nothing is scheduled after our own callback, nothing was ready in that turn. What ran before it in the same turn may
have sent something: the next turn must find nothing either.

All that wait for the same loop to rest share one callback; with one each, they would wait for one another.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from typing import Any, Callable

__all__ = ["when_at_rest"]

__unittest = True

# A loop that never rests is given so many turns at least, however slow the machine is.
_FEWEST = 100
# Where a loop doesn't show what is ready (uvloop), it counts as at rest after so many turns.
_TURNS = 20

_watched: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Rest] = weakref.WeakKeyDictionary()


def when_at_rest(loop: asyncio.AbstractEventLoop, bound: float, callback: Callable[[], Any]) -> None:
    """Call `callback` when `loop` is at rest, or after `bound` seconds of real time, and 100 turns, if it never is."""
    rest = _watched.get(loop)
    if rest is None:
        rest = _watched[loop] = _Rest(loop)
    rest.wait(bound, callback)


class _Rest:
    """Waits for one loop to rest."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._waiting: list[tuple[float, Callable[[], Any]]] = []
        self._quiet = 0
        self._turns = 0

    def wait(self, bound: float, callback: Callable[[], Any]) -> None:
        """Call `callback` when the loop is at rest, or after `bound` seconds."""
        self._quiet = self._turns = 0
        self._waiting.append((time.monotonic() + bound, callback))
        if len(self._waiting) == 1:
            self._look_soon()

    def _look_soon(self) -> None:
        loop = self._loop()
        if loop is not None:
            loop.call_soon(self._look)

    def _look(self) -> None:
        self._turns += 1
        self._quiet = 0 if self._is_busy() else self._quiet + 1
        if self._quiet >= 2:
            called, self._waiting = self._waiting, []
        else:
            now = time.monotonic()
            called = [each for each in self._waiting if each[0] <= now and self._turns >= _FEWEST]
            self._waiting = [each for each in self._waiting if each not in called]
        if self._waiting:
            self._look_soon()
        for _, callback in called:
            callback()

    def _is_busy(self) -> bool:
        """Whether something is scheduled after this callback."""
        ready = getattr(self._loop(), "_ready", None)
        if ready is None:
            return self._turns < _TURNS
        return any(not handle.cancelled() for handle in ready)
