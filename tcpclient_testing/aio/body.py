"""The body of a test: the task that has to be interrupted when the script has failed, as a TaskGroup does.

    running --failure--> (a moment later) cancelled again and again, until it ends --ended--> over

The cancellation is ours alone: whoever catches the `CancelledError` at the edge asks `absorb`, which takes back what
was added to the task's count of cancellations, and tells whether somebody else had cancelled the task as well. A task
may be the body of several servers, each in an ``async with`` of its own: none of them is somebody else to the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from typing import Any, Callable, Optional

__all__ = ["Body", "consequence"]

__unittest = True

_PATIENCE = 0.1
_INSISTENCE = 0.05
# Parts of a test that clean up do so for other things than the client, too: they have longer.
_PATIENCE_WHILE_CLEANING = 1.0

# How often each task was cancelled by bodies that have not taken it back yet.
_ours: weakref.WeakKeyDictionary[asyncio.Task[Any], int] = weakref.WeakKeyDictionary()


class Body:
    """The task that runs a test, or a part of it; `cleaning` tells that this part cleans up after the others.

    `waits_for_us` tells whether the task is about to be told of the failure anyway.
    """

    def __init__(self, task: asyncio.Task[Any], waits_for_us: Callable[[asyncio.Task[Any]], bool], *,
                 cleaning: bool = False) -> None:
        self._task = task
        self._loop = task.get_loop()
        self._waits_for_us = waits_for_us
        self._patience = _PATIENCE_WHILE_CLEANING if cleaning else _PATIENCE
        self._cancelled = 0
        self._others = self._cancelled_by_others()
        self._timer: Optional[asyncio.TimerHandle] = None
        self._over = False

    @property
    def interrupted(self) -> bool:
        """Whether we have cancelled the task."""
        return self._cancelled > 0

    def interrupt(self) -> None:
        """Cancel the task a moment from now, if it is still running then."""
        if self._timer is None and not self._over:
            self._timer = self._loop.call_later(self._patience, self._cancel)

    def interrupt_from_elsewhere(self) -> None:
        """Do the same, in the body's loop; asked in another thread."""
        with contextlib.suppress(RuntimeError):  # that loop is closed: the body has ended
            self._loop.call_soon_threadsafe(self.interrupt)

    def _cancel(self) -> None:
        if self._over or self._task.done():
            return
        if not self._waits_for_us(self._task):
            self._cancelled += 1
            _ours[self._task] = _ours.get(self._task, 0) + 1
            self._task.cancel()
        # Again, since a cancellation can be lost: wait_for of 3.9 to 3.11 drops one that comes with its own result.
        self._timer = self._loop.call_later(_INSISTENCE, self._cancel)

    async def release(self) -> bool:
        """The body has ended: interrupt it no more. Return whether it was interrupted, and by nobody else."""
        interrupted = self.interrupted
        return not await self.absorb() and interrupted

    async def absorb(self) -> bool:
        """The body has ended: interrupt it no more. Return True if the task was cancelled by somebody else too."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._cancelled:
            return False
        try:
            # A cancellation that was not delivered yet would strike whatever the task does next.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        _ours[self._task] -= self._cancelled
        if hasattr(self._task, "uncancel"):
            for _ in range(self._cancelled):
                self._task.uncancel()
        return self._cancelled_by_others() > self._others

    def _cancelled_by_others(self) -> int:
        """How often somebody else than a server has cancelled the task; 0 where tasks don't count (before 3.11)."""
        return self._task.cancelling() - _ours.get(self._task, 0) if hasattr(self._task, "cancelling") else 0


def consequence(error: BaseException) -> Optional[BaseException]:
    """What a `CancelledError` that ended the body hides: the exception that the body was handling, if any."""
    seen: Optional[BaseException] = error
    while isinstance(seen, asyncio.CancelledError):
        seen = seen.__context__
    return seen
