"""Waits until nothing lives in this process that could still act by itself, beside those who wait for it.

As long as something lives, it looks again, at growing intervals.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import Any, Callable

from tcpclient_testing.aio.context import is_virtual
from tcpclient_testing.aio.sockets.polling import Poller

from .life import life_in, life_outside
from .rest import when_at_rest

__all__ = ["LifeWatch"]

__unittest = True

# How many seconds may pass, at most, until it is noticed that the last thread, process or task has ended. On virtual
# time the intervals only grow, because the clock stops at each of them.
_LONGEST = 0.1


class LifeWatch:
    """Calls `nothing` when neither `loop`, which is the running one, nor the rest of the process has anything to do.

    - `wanted` is asked first, each time: it is cheap, and says whether it matters.
    - `idle` returns threads that can't act by themselves.
    - `ignored` says the same of a task of the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, nothing: Callable[[], None], *, wanted: Callable[[], bool],
                 idle: Callable[[], Collection[threading.Thread]],
                 ignored: Callable[[asyncio.Task[Any]], bool]) -> None:
        self._loop = loop
        self._nothing = nothing
        self._wanted = wanted
        self._idle = idle
        self._ignored = ignored
        self._poller = Poller(loop, self._look, eager=0, longest=float("inf") if is_virtual(loop) else _LONGEST,
                              only_judges=True)
        self._over = False

    def start(self) -> None:
        """Begin to look. Call `stop` at the end."""
        self._poller.begin()

    def stop(self) -> None:
        """Look no more."""
        self._over = True
        self._poller.cancel()

    def _look(self) -> None:
        # What a thread or a process did before it ended is in the sockets by now, and is seen before the loop rests.
        if not self._wanted() or life_outside(self._idle()):
            self._poller.again()
        else:
            when_at_rest(self._loop, float("inf"), self._decide)  # in a loop that never rests, something lives

    def _decide(self) -> None:
        if self._over:
            return
        if not self._wanted() or life_outside(self._idle()) or life_in(self._loop, self._ignored):
            self._poller.again()
        else:
            self._nothing()
