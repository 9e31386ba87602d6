"""Polls for something that no event reports.

Most of it happens within a few turns of the loop, so poll in each of these turns: they take no time on a virtual clock.
After that, timers poll at growing intervals.

    at rest --begin--> waiting --look--> at rest --again--> waiting
                          `--cancel--> at rest
"""

from __future__ import annotations

import asyncio
import time
from typing import Callable, Optional

from tcpclient_testing.harness.in_flight import called_by_loop

__all__ = ["TICK", "Poller"]

__unittest = True

_RESOLUTION = time.get_clock_info("monotonic").resolution

#: How coarse the clock is, in seconds; 0 if it isn't. Two times may be apart by so much less than they seem to be, or
#: more. Windows' clock ticks every 15.6 ms before Python 3.13.
TICK = _RESOLUTION if _RESOLUTION > 0.0001 else 0.0

# The shortest interval of the timers, in seconds.
_SHORTEST = 0.0002


class Poller:
    """Calls `look` again and again, as long as `look` calls `again`.

    `look` is called in each of the first `eager` turns of the loop, then by timers, at most `longest` seconds apart.
    `only_judges` says that nothing comes of it but a verdict, so that a loop is at rest although it polls.
    """

    __slots__ = ("count", "only_judges", "_loop", "_look", "_eager", "_longest", "_since", "_handle")

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], None], *, eager: int = 20,
                 longest: float = 0.01, only_judges: bool = False) -> None:
        #: How many calls of `look` have found nothing.
        self.count = 0
        self.only_judges = only_judges
        self._loop = loop
        self._look = look
        self._eager = eager
        self._longest = longest
        self._since = 0.0
        self._handle: Optional[asyncio.Handle] = None

    @property
    def waiting(self) -> bool:
        """Whether another call of `look` is scheduled."""
        return self._handle is not None

    @property
    def lasted(self) -> float:
        """Seconds since `begin` was called; with a clock that ticks, those that have certainly gone by."""
        return max(0.0, self._loop.time() - self._since - TICK)

    def begin(self) -> None:
        """Start to poll: call `look` in the next turn of the loop."""
        self.count = 0
        self._since = self._loop.time()
        self._handle = self._loop.call_soon(self._now)

    def again(self) -> None:
        """Schedule another call, because `look` has found nothing."""
        self.count += 1
        if self.count <= self._eager:
            self._handle = self._loop.call_soon(self._now)
        else:
            self._handle = self._loop.call_later(min(max(self.lasted / 4, _SHORTEST), self._longest), self._now)

    def cancel(self) -> None:
        """Stop polling."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _now(self) -> None:
        self._handle = None
        called_by_loop(self._look)
