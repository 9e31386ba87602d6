"""Tells whether a part of a test still runs, in a task in which a test framework runs all parts one after another.

unittest of Python 3.9 and 3.10 has one such task for each test, anyio's plugin for pytest one for a whole module. If
the part has ended, the task must not be cancelled: this would break what the framework does next.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from types import FrameType
from typing import Any, Optional

__all__ = ["SharedTask"]

__unittest = True

_FRAMEWORKS = frozenset({"unittest", "anyio"})


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
