"""Finds living threads that a test can't be waiting for, so that virtual time may jump although they live.

A thread can't be asked whether it works for the test. Two kinds of thread are known not to, without guessing:

* A thread of a tool that runs tests (pytest-xdist's receiver, a debugger's). The module that it runs in shows that.
* A thread at rest that lived before the loop was made (of a logger, a tracer, a pool of an earlier test). Such a thread
  may still serve the test. But it can't act by itself while it waits for a lock, an event or a queue, without a time
  limit: another thread of this process has to wake it. The same is true of a trio worker, whose time limit only ends
  it. The thread counts again from the moment when it wakes up until it has been asleep for `_REST` seconds: what it has
  written in the meantime may be under way for that long (see `held_back`).

All other threads count for as long as they live, because each may act by itself:

* a thread that sleeps for a limited time;
* a thread that waits for a socket or a pipe;
* a thread that the test has started itself.

The kernel says how a thread waits (proc_pid_syscall(5), Linux only), and whether it has run since the last query
(schedstat). Where the kernel doesn't say, threads count.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import time
import weakref
from collections.abc import Collection
from types import FrameType
from typing import Optional

__all__ = ["another_runs", "earlier_threads", "is_tools_frame", "is_tools_thread", "sleeps"]

__unittest = True

_REST = 0.25  # seconds
# Packages whose threads only help to run tests, and never serve a test.
_TOOLS = frozenset({"execnet", "pytest_rerunfailures", "pytest_timeout", "debugpy", "pydevd", "_pydevd_bundle", "tqdm",
                    "IPython", "ipykernel"})
# Modules in whose code a thread waits for another Python thread, not for a C library's thread or callback.
_WAITING_MODULES = frozenset({"threading", "queue", "concurrent.futures.thread"})
# Where the workers of a pool wait for work, with a time limit after which they end: (module, function).
_WORKERS_AT_REST = frozenset({("trio._core._thread_cache", "_work")})
_FUTEX: Optional[int] = None  # the number of the system call; None where it is not known
if sys.platform == "linux":
    _FUTEX = {"x86_64": 202, "aarch64": 98, "riscv64": 98}.get(os.uname().machine)
_FUTEX_WAITS, _FUTEX_COMMAND, _FUTEX_PRIVATE = (0, 9), 0x7F, 0x80  # linux/futex.h
_monotonic = time.monotonic  # the real function, even if a test replaces time.monotonic


class _Observation:
    """How a thread was waiting when it was last checked, since when, and whether it waits for another thread."""

    __slots__ = ("mark", "since", "waits")

    def __init__(self, mark: bytes, waits: bool) -> None:
        self.mark = mark
        self.since = _monotonic()
        self.waits = waits


_observed: weakref.WeakKeyDictionary[threading.Thread, _Observation] = weakref.WeakKeyDictionary()


def earlier_threads() -> Collection[threading.Thread]:
    """Return the threads that live now, except the caller, and start to observe how each of them sleeps."""
    if not _thread._count():
        return ()  # the caller is the main thread, and the only one
    me = threading.get_ident()
    found = [thread for thread in threading.enumerate()
             if thread.ident != me and not isinstance(thread, threading._DummyThread)]
    for thread in found:
        sleeps(thread)
    return weakref.WeakSet(found)


def sleeps(thread: threading.Thread) -> bool:
    """Return whether a thread is at rest: has waited for another one, without a time limit, for `_REST` seconds."""
    mark, limited = (None, False) if thread.native_id is None else _mark(thread.native_id)
    frame = sys._current_frames().get(thread.ident or 0) if limited else None
    if mark is None or (limited and not _is_worker_at_rest(frame)):
        _observed.pop(thread, None)
        return False
    observation = _observed.get(thread)
    if observation is None or observation.mark != mark:
        frame = frame or sys._current_frames().get(thread.ident or 0)
        # Thread.run() itself never waits. If it is the innermost frame, it has called a function that is not Python's.
        waits = limited or (frame is not None and frame.f_code.co_name != "run"
                            and frame.f_globals.get("__name__") in _WAITING_MODULES)
        _observed[thread] = _Observation(mark, waits)
        return False
    return observation.waits and _monotonic() - observation.since >= _REST


def another_runs() -> bool:
    """Return whether another thread of this process runs, or waits for nothing but a processor (Linux only)."""
    own = str(threading.get_native_id())
    try:
        others = [name for name in os.listdir("/proc/self/task") if name != own]
    except OSError:
        return False
    return any(_state(name) == b"R" for name in others)


def _state(native_id: object) -> bytes:
    """Return the state of a thread as a letter: b"R" runs, b"S" sleeps; nothing if it has ended."""
    with contextlib.suppress(OSError):
        # The state follows the name, which is in parentheses and may contain anything (proc_pid_stat(5)).
        return _read(f"/proc/self/task/{native_id}/stat").rpartition(b")")[2][1:2]
    return b""


def _is_worker_at_rest(frame: Optional[FrameType]) -> bool:
    return frame is not None and (frame.f_globals.get("__name__"), frame.f_code.co_name) in _WORKERS_AT_REST


def _mark(native_id: int) -> tuple[Optional[bytes], bool]:
    """Return a mark that changes whenever this thread runs, and whether the thread waits with a time limit.

    The mark is None unless the thread now waits for a lock (a private futex).
    """
    if _FUTEX is None:
        return None, False
    try:
        # First ask whether it sleeps. A thread that has been woken, and has not run since because its processor is
        # busy or idles too deeply, is still shown in its call, and in `stat` as running.
        if _state(native_id) != b"S":
            return None, False
        # Then read how it waits, then whether it has run. In the other order it could run between the two.
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
    """Return whether a thread belongs to a tool that runs tests."""
    # A threading.Timer waits in threading's own code; the module of its function shows whose it is.
    modules = [type(thread).__module__, getattr(getattr(thread, "function", None), "__module__", None)]
    return any(_is_tools(module) for module in modules) \
        or is_tools_frame(sys._current_frames().get(thread.ident or 0))


def is_tools_frame(frame: Optional[FrameType]) -> bool:
    """Return whether a tool started the thread that runs in this frame: its outermost code is the tool's."""
    first = None
    while frame is not None:
        module = frame.f_globals.get("__name__")
        if module != "threading":
            first = module
        frame = frame.f_back
    return _is_tools(first)


def _is_tools(module: object) -> bool:
    return isinstance(module, str) and module.partition(".")[0] in _TOOLS
