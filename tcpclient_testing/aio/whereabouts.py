"""Where the tasks of a loop stood when the script failed: which exceptions were raised before that, and which after.

An exception does not tell when it was raised. But those that pass a ``finally`` or an ``except`` which awaits something
are seen there; and what a coroutine raises on another line than that on which it stood, it has raised since. What
is neither is taken for raised before: it may have come of a task that had ended.
"""

from __future__ import annotations

import asyncio
import gc
from types import CodeType, FrameType
from typing import Any, Optional

from .causes import chain_of

__all__ = ["Whereabouts"]

__unittest = True


class Whereabouts:
    """What is to be seen in the tasks of `loop` at the moment at which this is made.

    It keeps the exceptions alive, since another one could get the place of one that is gone: let go of it in time.
    """

    __slots__ = ("_lines", "_raised")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._lines: dict[tuple[int, CodeType], int] = {}
        self._raised: list[BaseException] = []
        for task in asyncio.all_tasks(loop):
            waiting: Any = task.get_coro()
            while waiting is not None:
                frame: Optional[FrameType] = getattr(waiting, "cr_frame", None) or getattr(waiting, "gi_frame", None)
                if frame is not None:
                    self._lines[id(frame), frame.f_code] = frame.f_lineno
                    self._raised += [each for each in gc.get_referents(waiting, frame)
                                     if isinstance(each, BaseException)]
                waiting = getattr(waiting, "cr_await", None) or getattr(waiting, "gi_yieldfrom", None)

    def _was_raised(self, exc: BaseException) -> bool:
        return any(exc is each for each in self._raised)

    def shows(self, exc: BaseException) -> bool:
        """Whether `exc`, or what it was raised from, was on its way already."""
        cause: Optional[BaseException] = exc
        seen: list[BaseException] = []
        while cause is not None and cause not in seen:
            if self._was_raised(cause):
                return True
            seen.append(cause)
            cause = cause.__cause__
        return False

    def precedes(self, exc: BaseException) -> bool:
        """Whether `exc` was raised after this moment, for all that can be seen."""
        if any(self._was_raised(each) for each in chain_of(exc)):
            return False
        later = False
        traceback = exc.__traceback__
        while traceback is not None:
            line = self._lines.get((id(traceback.tb_frame), traceback.tb_frame.f_code))
            later = later if line is None else line != traceback.tb_lineno
            traceback = traceback.tb_next
        return later
