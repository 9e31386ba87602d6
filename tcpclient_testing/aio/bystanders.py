"""Threads that live, and that a test can't be waiting for: those of tools, and those asleep since before it began.

Whether a thread works for the test can't be asked of it. What can be told without guessing:

* A thread of a tool that runs tests (pytest-xdist's receiver, a debugger's) is known by the module that it runs in.
* A thread that lived before the loop was made (of a logger, a tracer, a pool of an earlier test) may serve the test all
  the same. But while it waits for a lock, an event or a queue, and without a time limit, it can do nothing unless
  another thread of this process wakes it; nor can a worker of trio's, whose time limit only ends it. It counts again
  from the instant of its awakening, and until it has been
  asleep for `_REST` seconds: what it has written meanwhile may be under way for as long as that (see `held_back`).

So a thread that sleeps for a time, that waits for a socket or a pipe, or that the test has started itself, counts as
long as it lives: each may act by itself. The kernel is asked how a thread waits (proc_pid_syscall(5), Linux only), and
whether it has run since it was last asked (schedstat). Where it does not tell, threads count.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import time
import weakref
from collections.abc import Collection
from types import FrameType
from typing import Optional

__all__ = ["is_tools_frame", "is_tools_thread", "sleeps", "standing_threads"]

__unittest = True

_REST = 0.25
# Packages whose threads attend to the running of tests, never to what is tested.
_TOOLS = frozenset({"execnet", "pytest_timeout", "debugpy", "pydevd", "_pydevd_bundle", "tqdm", "IPython", "ipykernel"})
# Where a thread waits for another one of Python's, and not for a library's own thread or callback.
_WAITING_ROOMS = frozenset({"threading", "queue", "concurrent.futures.thread"})
# Where the workers of a pool wait for work, for a time after which they end: the module, and the function.
_WORKERS_AT_REST = frozenset({("trio._core._thread_cache", "_work")})
_FUTEX: Optional[int] = None  # the number of the system call, where it is known
if sys.platform == "linux":
    _FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}.get(os.uname().machine)
_FUTEX_WAITS, _FUTEX_COMMAND, _FUTEX_PRIVATE = (0, 9), 0x7F, 0x80  # linux/futex.h
_monotonic = time.monotonic  # the real one, also where a test replaces time.monotonic


class _Observation:
    """What a thread was doing when it was looked at, since when, and whether it waits for another thread."""

    __slots__ = ("mark", "since", "waits")

    def __init__(self, mark: bytes, waits: bool) -> None:
        self.mark = mark
        self.since = _monotonic()
        self.waits = waits


_observed: weakref.WeakKeyDictionary[threading.Thread, _Observation] = weakref.WeakKeyDictionary()


def standing_threads() -> Collection[threading.Thread]:
    """Return the threads that live now, without the caller; from now on it is observed how each of them sleeps."""
    if not _thread._count():
        return ()  # the caller is the main thread, and alone
    me = threading.get_ident()
    found = [thread for thread in threading.enumerate()
             if thread.ident != me and not isinstance(thread, threading._DummyThread)]
    for thread in found:
        sleeps(thread)
    return weakref.WeakSet(found)


def sleeps(thread: threading.Thread) -> bool:
    """Tell whether a thread has been waiting for another one, without a time limit, for long enough to be at rest."""
    mark, limited = (None, False) if thread.native_id is None else _mark(thread.native_id)
    frame = sys._current_frames().get(thread.ident or 0) if limited else None
    if mark is None or (limited and not _is_worker_at_rest(frame)):
        _observed.pop(thread, None)
        return False
    observation = _observed.get(thread)
    if observation is None or observation.mark != mark:
        frame = frame or sys._current_frames().get(thread.ident or 0)
        # Thread.run() itself never waits: it has called something that is not Python's.
        waits = limited or (frame is not None and frame.f_code.co_name != "run"
                            and frame.f_globals.get("__name__") in _WAITING_ROOMS)
        _observed[thread] = _Observation(mark, waits)
        return False
    return observation.waits and _monotonic() - observation.since >= _REST


def _is_worker_at_rest(frame: Optional[FrameType]) -> bool:
    return frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) in _WORKERS_AT_REST


def _mark(native_id: int) -> tuple[Optional[bytes], bool]:
    """Return what changes whenever this thread runs, if it waits for a lock now (else None); and if for a time only."""
    if _FUTEX is None:
        return None, False
    try:
        # First how it waits, then whether it has run: the other way round it could have run in between.
        call = _read(f"/proc/self/task/{native_id}/syscall")
        words = call.split()
        if len(words) < 5 or int(words[0]) != _FUTEX:
            return None, False  # "running", or another call
        operation, limit = int(words[2], 16), int(words[4], 16)
        if not operation & _FUTEX_PRIVATE or operation & _FUTEX_COMMAND not in _FUTEX_WAITS:
            return None, False
        return call + _read(f"/proc/self/task/{native_id}/schedstat"), limit != 0
    except (OSError, ValueError):
        return None, False


def _read(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 256)
    finally:
        os.close(file)


def is_tools_thread(thread: threading.Thread) -> bool:
    """Tell whether a thread belongs to a tool that runs tests."""
    # A threading.Timer waits in threading's own code; its function says whose it is.
    modules = [type(thread).__module__, getattr(getattr(thread, "function", None), "__module__", None)]
    return any(_is_tools(module) for module in modules) \
        or is_tools_frame(sys._current_frames().get(thread.ident or 0))


def is_tools_frame(frame: Optional[FrameType]) -> bool:
    """Tell whether the thread that runs in this frame was started by a tool: what it runs first is the tool's."""
    first = None
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module != "threading":
            first = module
        frame = frame.f_back
    return _is_tools(first)


def _is_tools(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _TOOLS
