"""Detects a debugger in this process. While one is active, no time-out fires, and the watchdog breaks no connection."""

from __future__ import annotations

import bdb
import sys
from typing import Any, Optional

__all__ = ["debugger_active"]

# The top-level modules of debuggers. Most debuggers that are not listed (ipdb, pudb, IPython's) are built on bdb.
_DEBUGGERS = frozenset(
    {"bdb", "debugpy", "pdb", "ptvsd", "pydevd", "_pydevd_bundle", "_pydevd_frame_eval", "_pydevd_sys_monitoring"}
)


def debugger_active() -> bool:
    """Return whether a debugger is active in any thread of this process. That is so in three cases:

    - One of its functions is on any thread's stack: its prompt, its command thread, or ``python -m pdb`` around the
      whole program.
    - It traces this thread, or a frame of any thread: a breakpoint is set. One that was told to go on without a
      breakpoint, or to quit, is over, though it leaves its trace function in some frames.
    - It has registered with ``sys.monitoring`` (Python 3.12 and later).

    A coverage tracer or a profiler is not a debugger.

    May be called from any thread. It takes some ten microseconds, more with deeper stacks: call it when a time-out is
    about to fire, not earlier.
    """
    return _is_debuggers(sys.gettrace()) or _monitors() or any(map(_is_debugged, sys._current_frames().values()))


def _monitors() -> bool:
    if sys.version_info >= (3, 12):
        return sys.monitoring.get_tool(sys.monitoring.DEBUGGER_ID) is not None
    return False


def _is_debugged(frame: Optional[Any]) -> bool:
    while frame is not None:
        if _is_module(frame.f_globals.get("__name__")) or _is_debuggers(frame.f_trace):
            return True
        frame = frame.f_back
    return False


def _is_debuggers(trace: Optional[Any]) -> bool:
    """Return whether a trace function is a debugger's: from its module, or a method of a class derived from one."""
    if trace is None:
        return False
    owner = getattr(trace, "__self__", trace)
    if isinstance(owner, bdb.Bdb) and _is_over(owner):
        return False
    return _is_module(getattr(trace, "__module__", None)) or any(
        _is_module(cls.__module__) for cls in type(owner).__mro__
    )


def _is_over(debugger: bdb.Bdb) -> bool:
    """Return whether a debugger can't stop the program again by itself.

    `set_continue` without a breakpoint leaves the trace function in the outermost frame, `set_quit` in all: those of a
    test runner last as long as the process.
    """
    if getattr(debugger, "quitting", False):
        return True
    return getattr(debugger, "stoplineno", None) == -1 and not debugger.get_all_breaks()


def _is_module(name: Any) -> bool:
    return isinstance(name, str) and name.partition(".")[0] in _DEBUGGERS
