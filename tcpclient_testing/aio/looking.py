"""Looks that are repeated until there is something to be seen, where nothing wakes us.

Most of what is looked for is a matter of some turns of the loop, and costs no time on a virtual clock then; what takes
longer is looked for by timers, further and further apart.

    at rest --begin--> waiting --look--> at rest --again--> waiting
                          `--cancel--> at rest
"""

from __future__ import annotations

import asyncio
from typing import Callable, Optional

__all__ = ["Looks"]

__unittest = True

# Seconds between two looks, at least.
_SHORTEST = 0.0002


class Looks:
    """Calls `look` when it is time to.

    `eager` is the number of turns of the loop that are worth a look each; `longest` the most that timers are apart
    after that, in seconds.
    """

    __slots__ = ("count", "_loop", "_look", "_eager", "_longest", "_since", "_handle")

    def __init__(self, loop: asyncio.AbstractEventLoop, look: Callable[[], None], *, eager: int = 20,
                 longest: float = 0.01) -> None:
        #: How many looks have been in vain.
        self.count = 0
        self._loop = loop
        self._look = look
        self._eager = eager
        self._longest = longest
        self._since = 0.0
        self._handle: Optional[asyncio.Handle] = None

    @property
    def waiting(self) -> bool:
        """Whether there will be another look."""
        return self._handle is not None

    @property
    def lasted(self) -> float:
        """Seconds since they were begun."""
        return self._loop.time() - self._since

    def begin(self) -> None:
        """Look in the next turn of the loop, for the first time."""
        self.count = 0
        self._since = self._loop.time()
        self._handle = self._loop.call_soon(self._now)

    def again(self) -> None:
        """There was nothing to be seen: look once more."""
        self.count += 1
        if self.count <= self._eager:
            self._handle = self._loop.call_soon(self._now)
        else:
            self._handle = self._loop.call_later(min(max(self.lasted / 4, _SHORTEST), self._longest), self._now)

    def cancel(self) -> None:
        """Look no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _now(self) -> None:
        self._handle = None
        self._look()
