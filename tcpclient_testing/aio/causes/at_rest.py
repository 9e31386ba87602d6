"""Tells whether an event loop is at rest: nothing can happen in it before a certain time.

At rest means all of this:

- No callback is ready.
- No timer fires before that time, the server's own time-outs aside.
- No socket is watched but those of the server and of its clients.
- No job is in an executor, and no other thread and no child process lives.

If a script waits for its clients then, it waits in vain: no task will ever run again that could do what it expects, or
look at the outcome of another task. Loops such as uvloop's don't show their sockets: such a loop is at rest only if it
has no other task either.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import threading
from collections.abc import Collection, Sequence
from typing import Any

from tcpclient_testing.aio.process.life import idle_workers
from tcpclient_testing.aio.process.quiescence import child_lives, living_thread
from tcpclient_testing.aio.sockets.borrowing import lent
from tcpclient_testing.aio.sockets.loop_inside import is_loops_own, watched
from tcpclient_testing.harness.client_errors import belongs_to
from tcpclient_testing.harness.interruption import awaits

__all__ = ["is_ours", "loop_is_at_rest", "nobody_else_lives", "other_tasks"]

__unittest = True

_PACKAGE = __name__.partition(".")[0]
_FOLDER = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir)) + os.sep

# Methods by which our own time-outs fire; nothing comes of them but a verdict.
_OUR_TIMERS = frozenset({"_tick", "_look"})

# What uvloop always has.
_HANDLES_OF_UVLOOP = ("loop._on_idle", "loop._exec_queued_writes", "_read_from_self")


def loop_is_at_rest(loop: asyncio.AbstractEventLoop, until: float, addresses: Sequence[Any],
                    waiting: Collection[asyncio.Task[Any]], besides: Collection[threading.Thread] = ()) -> bool:
    """Whether nothing can happen in `loop` before the time `until`, in seconds of its clock.

    `addresses` are those of the servers, `waiting` the tasks that wait for steps. Threads in `besides` don't count.
    Call this in the loop, from a timer.
    """
    inside: Any = loop
    ready, timers, waits_for = getattr(inside, "_ready", None), getattr(inside, "_scheduled", None), watched(loop)
    if ready is None or timers is None or waits_for is None:
        return not other_tasks(loop, waiting) and not _has_handles(loop, until) and nobody_else_lives(loop, besides)
    if ready or any(timer.when() < until and not timer.cancelled() and not _is_our_timer(timer) for timer in timers):
        return False
    own = getattr(inside, "_ssock", None)
    own_fd = -1 if own is None else own.fileno()
    return all(each.descriptor == own_fd or _is_between_us(each.descriptor, addresses) for each in waits_for) \
        and nobody_else_lives(loop, besides)


def _is_our_timer(timer: Any) -> bool:
    callback = timer._callback
    if getattr(getattr(callback, "__self__", None), "only_judges", False):
        return True
    return getattr(callback, "__name__", "") in _OUR_TIMERS and \
        str(getattr(callback, "__module__", "")).partition(".")[0] == _PACKAGE


def _has_handles(loop: asyncio.AbstractEventLoop, until: float) -> bool:
    """Whether a loop that doesn't show its inside has callbacks, or timers that fire before the time `until`."""
    for each in gc.get_objects():
        kind = type(each)
        if kind.__name__ not in ("Handle", "TimerHandle") or kind.__module__ != type(loop).__module__ \
                or each.cancelled():
            continue
        shown = repr(each)
        if kind.__name__ == "TimerHandle":
            if loop.time() < each.when() < until and not any(f".{name}" in shown for name in _OUR_TIMERS):
                return True
        elif not any(name in shown for name in (*_HANDLES_OF_UVLOOP, *_OUR_TIMERS)):
            return True
    return False


def _is_between_us(fd: int, addresses: Sequence[Any]) -> bool:
    """Whether a descriptor is a socket of one of the servers, or of a client that is connected to one of them."""
    try:
        sock = lent(fd)
    except OSError:
        return False  # a pipe, or something else
    try:
        names = [sock.getsockname()]
        with contextlib.suppress(OSError):  # it listens
            names.append(sock.getpeername())
    finally:
        sock.detach()
    return any(belongs_to(name, address) for name in names for address in addresses)


def nobody_else_lives(loop: Any = None, besides: Collection[threading.Thread] = ()) -> bool:
    """Whether there is no thread and no child process that could do anything, and no job is in `loop`'s executor.

    Threads in `besides` don't count, nor does one that waits for another thread.
    """
    idle = idle_workers(loop)
    executor: Any = getattr(loop, "_default_executor", None)
    if not idle and getattr(executor, "_threads", None):
        return False
    return living_thread({*idle, *besides}, threading.enumerate()) is None and not child_lives()


def other_tasks(loop: asyncio.AbstractEventLoop, waiting: Collection[asyncio.Task[Any]]) -> list[asyncio.Task[Any]]:
    """Return the living tasks of `loop` that may be the client's: none that waits for a step, none of ours."""
    return [task for task in asyncio.all_tasks(loop) if task not in waiting and not is_ours(task)
            and not is_loops_own(task) and not any(awaits(task, each) for each in waiting)]


def is_ours(task: asyncio.Future[Any]) -> bool:
    """Whether a task runs a coroutine of this library."""
    coroutine: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    code = getattr(coroutine, "cr_code", None)
    return code is not None and code.co_filename.startswith(_FOLDER)
