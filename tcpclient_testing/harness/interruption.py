"""Interrupts the body of a test: cancels the task that runs it when the script has failed, as a TaskGroup does.

    running --failure--> (a moment later) cancelled again and again, until it ends --ended--> over

When a subtest has reported the failure, the rest of the test gets its time: it is cancelled when nothing happens any
more on the servers that have not failed.

The cancellation must not be seen outside of the server's context. The code that catches the `CancelledError` when the
context is left awaits `absorb()`. It undoes our cancellations in the task's count, and returns whether anybody else had
cancelled the task, too.

A task may be the body of several servers, each in its own ``async with``. Cancellations by these servers don't count as
somebody else's.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import weakref
from types import FrameType
from typing import Any, Callable, Optional

from .exceptions import context_of

__all__ = ["Body", "SharedTask", "awaits", "consequence", "ends_with_ctrl_c"]

__unittest = True

_PATIENCE = 0.1  # seconds between the failure and the first cancellation
_INSISTENCE = 0.05  # seconds between two cancellations
# Parts of a test that clean up (fixtures, tearDown) clean up more than the client: they get more time.
_PATIENCE_WHILE_CLEANING = 1.0
_PATIENCE_AFTER_REPORT = 5.0  # seconds without anything that happens

# They run all parts of a test in one task. If a part has ended, the task must not be cancelled: this would break what
# the framework does next. unittest of Python 3.9 and 3.10 has such a task for each test, anyio's plugin for pytest one
# for a whole module.
_FRAMEWORKS = frozenset({"unittest", "anyio"})

# How many cancellations by bodies each task has that were not undone yet.
_ours: weakref.WeakKeyDictionary[asyncio.Task[Any], int] = weakref.WeakKeyDictionary()


class SharedTask:
    """The part of a test that runs in `task` now; if no framework shares the task, that is the task's whole work."""

    __slots__ = ("_frame", "_root")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self._root: Any = task.get_coro()
        self._frame: Optional[FrameType] = None
        root = getattr(self._root, "cr_frame", None)
        if root is None or str(root.f_globals.get("__name__")).partition(".")[0] not in _FRAMEWORKS:
            return
        frame: Optional[FrameType] = sys._getframe(1)
        while frame is not None and frame.f_back is not root:
            frame = frame.f_back
        self._frame = frame

    def runs(self) -> bool:
        """Whether the part has not ended. Call this while the task waits."""
        if self._frame is None:
            return True
        awaited = getattr(self._root, "cr_await", None)
        # The step of an asynchronous generator does not tell by an attribute which generator that is.
        candidates = [] if awaited is None else [awaited, *gc.get_referents(awaited)]
        return any(getattr(each, name, None) is self._frame for each in candidates
                   for name in ("cr_frame", "gi_frame", "ag_frame"))


class Body:
    """The task that runs a test, or a part of it. Await `release()` or `absorb()` when that has ended.

    `waits_for_us` is called with the task, and returns whether it awaits one of the server's steps: then it gets the
    failure as an exception anyway, and is not cancelled. `cleaning` is true for a part that cleans up after the others.
    """

    def __init__(self, task: asyncio.Task[Any], waits_for_us: Callable[[asyncio.Task[Any]], bool], *,
                 cleaning: bool = False) -> None:
        self._task = task
        self._part = SharedTask(task)
        self._loop = task.get_loop()
        self._waits_for_us = waits_for_us
        self._patience = _PATIENCE_WHILE_CLEANING if cleaning else _PATIENCE
        self._cancelled = 0
        self._others = self._cancelled_by_others()
        self._progress: Optional[Callable[[], int]] = None
        self._seen = 0
        self._timer: Optional[asyncio.TimerHandle] = None
        self._over = False

    @property
    def task(self) -> asyncio.Task[Any]:
        """The task that runs the test."""
        return self._task

    @property
    def interrupted(self) -> bool:
        """Whether this body has cancelled the task."""
        return self._cancelled > 0

    def waits_by(self, task: asyncio.Task[Any]) -> bool:
        """Whether `task` is the body, or the body awaits it."""
        return task is self._task or awaits(self._task, task)

    def interrupt(self) -> None:
        """Cancel the task a moment from now (0.1 s, or 1 s while cleaning), if it is still running then."""
        if self._timer is None and not self._over:
            self._timer = self._loop.call_later(self._patience, self._cancel)

    def interrupt_from_elsewhere(self) -> None:
        """Schedule `interrupt()` in the body's loop. Call this from another thread."""
        with contextlib.suppress(RuntimeError):  # that loop is closed: the body has ended
            self._loop.call_soon_threadsafe(self.interrupt)

    def spare(self, progress: Callable[[], int]) -> None:
        """A subtest has reported the failure: cancel what follows only when it is stuck. Call this in the body.

        That is when `progress`, which counts what happens on other servers, has stood still for some seconds.
        """
        if not self._over:
            self._progress, self._seen = progress, progress()
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(_PATIENCE_AFTER_REPORT, self._cancel)

    def drop(self) -> None:
        """Stop interrupting: another body has taken the place of this one, or the part has ended."""
        self._over = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cancel(self) -> None:
        if self._over or self._task.done() or not self._part.runs():
            return
        if self._progress is not None and self._progress() != self._seen:
            self.spare(self._progress)
            return
        if not self._waits_for_us(self._task):
            self._cancelled += 1
            _ours[self._task] = _ours.get(self._task, 0) + 1
            self._task.cancel()
        # Repeat: a cancellation can be lost. wait_for of Python 3.9 to 3.11 drops one that comes with its own result.
        self._timer = self._loop.call_later(_INSISTENCE, self._cancel)

    async def release(self) -> bool:
        """Stop interrupting: the body has ended. Return True if it was interrupted, and by nobody else."""
        interrupted = self.interrupted
        return not await self.absorb() and interrupted

    async def absorb(self) -> bool:
        """Stop interrupting: the body has ended. Return True if it was interrupted and cancelled by others, too."""
        self.drop()
        if not self._cancelled:
            return False
        try:
            # Take a cancellation that was not delivered yet: it would interrupt whatever the task does next.
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            pass
        _ours[self._task] -= self._cancelled
        if hasattr(self._task, "uncancel"):
            for _ in range(self._cancelled):
                self._task.uncancel()
        return self._cancelled_by_others() > self._others

    def _cancelled_by_others(self) -> int:
        """How often anybody but a server has cancelled the task; 0 before Python 3.11, where tasks don't count that."""
        return self._task.cancelling() - _ours.get(self._task, 0) if hasattr(self._task, "cancelling") else 0


def awaits(waiting: asyncio.Task[Any], task: asyncio.Task[Any]) -> bool:
    """Whether `waiting` awaits `task`: alone, or in a `wait_for`, which has a task of its own before Python 3.12."""
    awaited = getattr(waiting, "_fut_waiter", None)
    callbacks = [callback for callback, _ in getattr(task, "_callbacks", None) or ()]
    return awaited is not None and (awaited is task or any(
        each is awaited for callback in callbacks for each in getattr(callback, "args", ())))


def ends_with_ctrl_c() -> bool:
    """Whether the main task is being cancelled because of Ctrl-C; its runner raises `KeyboardInterrupt` in the end.

    `asyncio.Runner` (Python 3.11 and later) handles SIGINT by a method, in which it counts.
    """
    import signal
    if threading.current_thread() is not threading.main_thread():
        return False
    handler = signal.getsignal(signal.SIGINT)
    runner = getattr(getattr(handler, "func", handler), "__self__", None)
    return bool(getattr(runner, "_interrupt_count", 0))


def consequence(error: BaseException) -> Optional[BaseException]:
    """Return the exception that the body was handling when a `CancelledError` ended it, or None."""
    seen: Optional[BaseException] = error
    while isinstance(seen, asyncio.CancelledError):
        seen = context_of(seen)
    return seen
