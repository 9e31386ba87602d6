"""Raises KeyboardInterrupt in the lines of the library, one after another, and looks at what stays behind."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from asyncio import streams
from collections.abc import Iterator
from functools import partial
from types import FrameType
from typing import Any, Callable, Optional

import tcpclient_testing
from tests.support.blocking import descriptors, eventually, threads
from tests.support.collecting import collect
from tests.support.long import LONG

__all__ = ["lines_that_leave_something"]

_FOLDER = os.path.dirname(os.path.abspath(tcpclient_testing.__file__)) + os.sep
# The interrupt comes before the first line of these, so before they can do anything about it: as if they were not
# called. An exception in a finaliser goes nowhere (Python only prints it).
_ENTRIES = frozenset({"__exit__", "__aexit__", "stop", "close"})


class _Interrupter:
    """Raises KeyboardInterrupt in this thread before the `number`-th line of the library that is not in `tried`."""

    def __init__(self, number: int, tried: set[str]) -> None:
        self._left = number
        self._tried = tried
        self.place: Optional[str] = None

    def trace(self, frame: FrameType, event: str, _: Any) -> Any:
        """Follow one frame, as `sys.settrace` has it."""
        name = frame.f_code.co_filename
        if not name.startswith(_FOLDER) or _in_finaliser(frame):
            return None
        if event != "line":
            return self.trace
        entry = frame.f_code.co_name in _ENTRIES and "server.py" in name and \
            frame.f_lineno - frame.f_code.co_firstlineno < 20 and _is_first(frame)
        place = f"{name[len(_FOLDER):]}:{frame.f_lineno}"
        if entry or place in self._tried:
            return self.trace
        self._tried.add(place)
        self._left -= 1
        if not self._left:
            self.place = place
            sys.settrace(None)
            raise KeyboardInterrupt
        return self.trace


def _is_first(frame: FrameType) -> bool:
    lines = [line for *_, line in frame.f_code.co_lines() if line is not None and line > frame.f_code.co_firstlineno] \
        if hasattr(frame.f_code, "co_lines") else [frame.f_lineno]
    return frame.f_lineno <= min(lines)


def _in_finaliser(frame: Optional[FrameType]) -> bool:
    while frame is not None:
        if frame.f_code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def _left() -> tuple[int, int, bool]:
    return descriptors(), threads(), "tcpclient_testing" in streams.StreamWriter.__module__


def _is_clean(before: tuple[int, int, bool]) -> bool:
    collect(cycles=True)
    return _left() == before


def lines_that_leave_something(life: Callable[[], None], step: int = 1) -> list[str]:
    """Call `life` again and again, interrupted in another line of the library each time, and return the bad lines.

    A line is bad if something else than a KeyboardInterrupt comes out, or if descriptors, threads, or the patch of
    asyncio's streams are still there. Each line is tried where it first runs, but only every `step`-th one.
    """
    with warnings.catch_warnings():
        # An interrupt between the call of a coroutine function, or of accept(), and the first line of what takes its
        # result: Python itself closes it, and says so.
        warnings.filterwarnings("ignore", "coroutine .* was never awaited")
        warnings.filterwarnings("ignore", "unclosed .*", ResourceWarning)
        return list(_try_all(life, step))


def _try_all(life: Callable[[], None], step: int) -> Iterator[str]:
    life()
    before = _left()
    tried: set[str] = set()
    while True:
        interrupter = _Interrupter(1 if LONG else step, tried)
        raised: Optional[type[BaseException]] = None
        sys.settrace(interrupter.trace)
        try:
            life()
        except BaseException as error:
            raised = type(error)
        finally:
            sys.settrace(None)
        if interrupter.place is None:
            return
        if raised is not KeyboardInterrupt:
            yield f"{interrupter.place}: {raised}"
        if _left() != before and not eventually(partial(_is_clean, before), 5):
            yield f"{interrupter.place}: {before} -> {_left()} {threading.enumerate()}"
            before = _left()
