"""A snapshot of a loop's tasks when the script fails: it tells which exceptions were raised before that moment.

An exception does not record when it was raised. But:

- An exception that is handled in a ``finally`` or an ``except`` which awaits something is visible in the snapshot: it
  was raised before.
- An exception that a coroutine raises on another line than the one on which it stood was raised after.

An exception that is neither counts as raised before: it may come from a task that had ended.
"""

from __future__ import annotations

import asyncio
import gc
from types import CodeType, FrameType
from typing import Any, Optional

from .exceptions import chain_of

__all__ = ["TaskSnapshot"]

__unittest = True

# How long a task that handles an exception may take to end: in turns of the loop, then in seconds.
_TURNS = 16
_MOMENT = 0.05


class TaskSnapshot:
    """What can be seen in the tasks of `loop` when this is made: the lines on which they stand, and exceptions.

    It keeps the exceptions alive, since a new one could get the memory address of one that is gone. Drop it when the
    server is closed.
    """

    __slots__ = ("_lines", "_raised", "_raising")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lines: dict[tuple[int, CodeType], int] = {}
        self._raised: list[BaseException] = []
        self._raising: list[asyncio.Task[Any]] = []  # the tasks that have exceptions on their way
        for task in asyncio.all_tasks(loop):
            waiting: Any = task.get_coro()
            while waiting is not None:
                frame: Optional[FrameType] = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
                if frame is not None:
                    self._lines[id(frame), frame.f_code] = frame.f_lineno
                    raised = [each for each in gc.get_referents(waiting, frame) if isinstance(each, BaseException)]
                    self._raised += raised
                    self._raising += [task] if raised else []
                waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)

    async def until_raised(self) -> None:
        """Wait a moment, until the tasks have ended that were handling an exception, the caller aside."""
        here = asyncio.current_task()
        self._raising = [task for task in self._raising if task is not here]
        for _ in range(_TURNS):
            self._raising = [task for task in self._raising if not task.done()]
            if not self._raising:
                return
            await asyncio.sleep(0)
        await asyncio.wait(self._raising, timeout=_MOMENT)
        self._raising = []

    def _was_raised(self, exc: BaseException) -> bool:
        return any(exc is each for each in self._raised)

    def shows(self, exc: BaseException) -> bool:
        """Whether `exc`, or an exception that it was raised from, is in the snapshot: it was raised before."""
        cause: Optional[BaseException] = exc
        seen: list[BaseException] = []
        while cause is not None and not any(cause is each for each in seen):
            if self._was_raised(cause):
                return True
            seen.append(cause)
            cause = cause.__cause__
        return False

    def precedes(self, exc: BaseException) -> bool:
        """Whether `exc` was raised after the snapshot, as far as that can be seen."""
        if any(self._was_raised(each) for each in chain_of(exc)):
            return False
        later = False
        traceback = exc.__traceback__
        while traceback is not None:
            line = self._lines.get((id(traceback.tb_frame), traceback.tb_frame.f_code))
            later = later if line is None else line != traceback.tb_lineno
            traceback = traceback.tb_next
        return later
