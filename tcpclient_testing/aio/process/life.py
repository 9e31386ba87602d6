"""Says whether something in this process can still act by itself: then a client that is missing may come from there.

`life_outside` asks for other threads and child processes, `life_in` for what an event loop has to do.

Where the answer is not known, it is yes: on Windows, which doesn't tell of child processes, beside greenlets, and for
loops that don't show their timers (uvloop).
"""

from __future__ import annotations

import asyncio
import functools
import sys
import threading
from collections.abc import Collection
from typing import Any, Callable

from tcpclient_testing.aio.sockets.loop_inside import is_loops_own, watched

from .quiescence import child_lives, living_thread

__all__ = ["idle_workers", "life_in", "life_outside"]

__unittest = True

_PACKAGE = __name__.partition(".")[0]
# With these a thread may go on although it blocks.
_GREEN = frozenset({"gevent", "eventlet"})
# Timers that do nothing but wake or cancel a task, which counts by itself.
_FOR_TASKS = frozenset({"_set_result_unless_cancelled", "_release_waiter", "Timeout._on_timeout",
                        "CancelScope._timeout"})
# The timer of a server whose script has failed, which is about to interrupt the test: that is the cause.
_INTERRUPTION = "Body._cancel"
# Tasks of tools that run tests (anyio): one runs the test, and the other waits for that.
_TOOLS = frozenset({"TestRunner._run_tests_and_fixtures", "TestRunner._call_in_runner_task"})


def life_outside(idle: Collection[threading.Thread] = ()) -> bool:
    """Whether another thread lives that is not `idle`, or a child process."""
    return not _GREEN.isdisjoint(sys.modules) or living_thread(idle) is not None \
        or child_lives()


def idle_workers(loop: Any) -> Collection[threading.Thread]:
    """Return the workers of a loop's default executor if none of them has a job; otherwise nothing.

    A worker that has just done its job is busy for a moment. A virtual loop counts jobs instead: whoever looks again
    there, at the next instant, does so after time has jumped.
    """
    executor: Any = getattr(loop, "_default_executor", None)
    try:
        workers = tuple(executor._threads)
        jobs = getattr(loop, "_executor_jobs", None)
        at_rest = not jobs if jobs is not None else (
            executor._work_queue.empty() and executor._idle_semaphore._value >= len(workers))
    except AttributeError:  # there is none, or it is of another kind
        return ()
    return workers if at_rest else ()


def life_in(loop: Any, ignored: Callable[[asyncio.Task[Any]], bool]) -> bool:
    """Whether `loop`, which is at rest, has a task, a timer or a reader that can still do something.

    `ignored` is called with each task, and says whether that one can't. What the package itself has doesn't count.
    """
    if getattr(loop, "why_real", lambda: None)() is not None:
        return True  # somebody holds a virtual clock
    timers, readers = getattr(loop, "_scheduled", None), watched(loop)
    if timers is None or readers is None:
        return True
    return any(not (ignored(task) or _is_tools(task) or is_loops_own(task)) for task in asyncio.all_tasks(loop)) \
        or any(_acts(timer._callback, loop) for timer in list(timers) if not timer.cancelled()) \
        or any(_acts(callback, loop) for each in readers for callback in each.callbacks)


def _is_tools(task: asyncio.Task[Any]) -> bool:
    return getattr(task.get_coro(), "__qualname__", "") in _TOOLS


def _acts(callback: Any, loop: Any) -> bool:
    """Whether what `loop` calls is code of the test or the client."""
    while isinstance(callback, functools.partial):
        callback = callback.func
    name = getattr(callback, "__qualname__", "")
    if name in _FOR_TASKS:
        return False
    if name == _INTERRUPTION:
        return True
    owner = getattr(callback, "__self__", None)
    if owner is loop or isinstance(owner, asyncio.Task):
        return False  # the loop's own pipe; a task counts by itself
    protocol = getattr(owner, "_protocol", None)  # a transport acts for its protocol
    if protocol is not None:
        return not _is_ours(type(protocol))
    return not _is_ours(callback if owner is None else type(owner))


def _is_ours(code: Any) -> bool:
    return str(getattr(code, "__module__", "")).partition(".")[0] == _PACKAGE
