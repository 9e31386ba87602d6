"""What can still happen by itself: living threads, living child processes, data that the kernel holds back.

A clock may only jump when nothing can come before the next timer. The event loop knows its callbacks, its sockets
and its jobs in executors; the three questions about the rest of the process stand here, each answered by the
operating system or the interpreter and none by waiting:

* `living_thread`: does another thread live that could do something?
* `child_lives`: does a child process live?
* `held_back`: has a socket sent data that the kernel will deliver only after a delay of its own?

Nothing here sees what is neither in this process nor a child of it: a server in a container, a daemon that has
detached itself, a device. Nothing can say whether those are about to speak.
"""

from __future__ import annotations

import _thread
import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Optional

from .bystanders import is_tools_frame, is_tools_thread, sleeps

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["child_lives", "held_back", "living_thread", "own_thread"]

__unittest = True

_own_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()


def own_thread(thread: threading.Thread) -> threading.Thread:
    """Set a thread aside: virtual time may jump although it lives. Returns the thread.

    For threads that watch and never act as a peer of what a test waits for: the library's watchdog, a sampler of
    statistics. Never for a thread that serves a connection, computes an answer or sets an event: a reply of its
    would come after every time-out. Call it before `thread.start()`; the thread is forgotten when it is collected.
    """
    _own_threads.add(thread)
    return thread


def living_thread(idle: Collection[threading.Thread] = (),
                  standing: Collection[threading.Thread] = ()) -> Optional[str]:
    """Name a living thread besides the calling one, or return None.

    Not counted: threads set aside with `own_thread()`, the threads in `idle` (workers of an executor that has no
    job), those of a debugger and of tools that run tests, and of those in `standing` (which lived before the loop) the
    ones that are at rest: see `bystanders`. Threads that `threading` does not know are counted, if Python code runs in
    them or `_thread.start_new_thread()` made them.
    """
    while count := _thread._count():  # usually 0: 30 ns; the main thread isn't counted, but then it is the caller
        found = _find_living_thread(count, idle, standing)
        if found is not _UNKNOWN or not (_own_threads_end() or _thread._count() < count):
            return found
    return None


_UNKNOWN = "a thread that was not started through threading lives"


def _find_living_thread(count: int, idle: Collection[threading.Thread],
                        standing: Collection[threading.Thread]) -> Optional[str]:
    """Name a thread among `count` that are neither set aside nor the caller."""
    me = threading.get_ident()
    main = threading.main_thread()
    threads = threading.enumerate()
    for thread in threads:
        ident = thread.ident
        if isinstance(thread, threading._DummyThread):
            # A thread that came from C, or from _thread. Before Python 3.13 the entry outlives its thread.
            frame = sys._current_frames().get(ident or 0)
            if frame is None:
                continue
            if ident != me and thread not in _own_threads and not is_tools_frame(frame):
                return f"thread {thread.name!r} lives"
        elif not (ident == me or thread in _own_threads or thread in idle or _is_nobodys(thread)
                  or (thread in standing and sleeps(thread))):
            for other in standing:
                sleeps(other)  # they come to rest side by side, not one after the other
            return f"thread {thread.name!r} lives"
        if thread is not main:
            count -= 1
    if count > 0:
        known = {thread.ident for thread in threads}
        count -= sum(ident not in known and (ident == me or is_tools_frame(frame))
                     for ident, frame in sys._current_frames().items())
    # A thread that is just ending, or has ended between the two looks, is still in the number.
    return _UNKNOWN if count > 0 else None


def _own_threads_end() -> bool:
    """See threads out that are set aside and just ending; return whether there were any.

    `threading` forgets a thread some instructions before the interpreter ceases to count it. Until then it would look
    like one that `threading` never knew. Nothing of the thread's own runs any more, so this waits for next to nothing.
    """
    from . import watchdog  # here: whoever uses neither shall not pay for the other

    known = set(threading.enumerate())
    own = {*_own_threads, watchdog.last_ended()} - known
    ending = [thread for thread in own if thread is not None and thread.is_alive()]
    for thread in ending:
        thread.join(1.0)
    return bool(ending)


def _is_nobodys(thread: threading.Thread) -> bool:
    """Tell whether a thread is the watchdog's or pydevd's (PyCharm, VS Code), which mark their own, or a tool's."""
    return getattr(thread, "tcpclient_testing_owned", False) is True \
        or getattr(thread, "is_pydev_daemon_thread", False) is True or is_tools_thread(thread)


def _find_child_lives() -> Callable[[], bool]:
    """Choose how to ask for living children: one system call, 2 µs, that reaps nothing and changes nothing.

    `waitid()` without WEXITED fails with ECHILD when there is no child that could still change its state. It counts
    every child, whoever made it and in whichever thread. On Linux it passes over those that have ended and wait to
    be reaped; elsewhere these may count as alive until then, which only makes time real for longer.
    `/proc/self/task/*/children` needs a kernel option that many don't have, `subprocess._active` knows only objects
    that were thrown away, and child watchers only what asyncio started.
    """
    if sys.platform != "win32" and (sys.platform != "darwin" or sys.version_info >= (3, 13)):
        options = os.WSTOPPED | os.WNOHANG | os.WNOWAIT

        def ask() -> bool:
            try:
                os.waitid(os.P_ALL, 0, options)
            except ChildProcessError:
                return False
            return True

    elif sys.platform == "darwin":  # the system has waitid(), os has it from Python 3.13 on
        ask = _child_lives_through_libc(0x08 | 0x01 | 0x20)
    else:  # Windows: nobody can be asked

        def ask() -> bool:
            return False

    return ask


def _child_lives_through_libc(options: int) -> Callable[[], bool]:
    """Ask `waitid()` of the C library, with `options` in its numbers (WSTOPPED, WNOHANG, WNOWAIT)."""
    import ctypes

    waitid = ctypes.CDLL(None, use_errno=True).waitid
    siginfo = ctypes.create_string_buffer(256)  # a siginfo_t has 104 to 128 bytes
    return lambda: bool(waitid(0, 0, siginfo, options) == 0)  # P_ALL is 0 everywhere


_child_lives: Optional[Callable[[], bool]] = None


def child_lives() -> bool:
    """Tell whether a child process of this one lives, however it was started.

    Always False on Windows. A grandchild whose parent has ended (a daemon) is no longer a child and is not seen.
    The helper processes of `multiprocessing` (resource tracker, fork server) are children and live until the end.
    """
    global _child_lives
    if _child_lives is None:
        _child_lives = _find_child_lives()
    return _child_lives()


_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes not yet sent; TIOCOUTQ (SIOCOUTQ): bytes not yet acknowledged


def held_back(descriptors: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    """List the TCP sockets that have unsent data and wait for an acknowledgement: (descriptor, unsent, unacknowledged).

    The kernel will send that data by itself, after at most some 40 ms (delayed acknowledgement, RFC 1122 4.2.3.2,
    for a socket with Nagle's algorithm, RFC 896) or 200 ms (a retransmission, RFC 6298), so something is still under
    way although no socket is ready. A socket whose peer's buffer is full has nothing unacknowledged but the unsent:
    nothing moves there until somebody reads. Linux only; empty elsewhere, and for whatever is not a TCP socket.
    """
    found: list[tuple[int, int, int]] = []
    if sys.platform == "linux":
        answer = bytearray(4)
        for descriptor in descriptors:
            try:
                fcntl.ioctl(descriptor, _SIOCOUTQNSD, answer)
                unsent = int.from_bytes(answer, sys.byteorder)
                if not unsent:
                    continue
                fcntl.ioctl(descriptor, termios.TIOCOUTQ, answer)
            except OSError:  # a pipe, a Unix socket, a listener, or closed in the meantime
                continue
            unacknowledged = int.from_bytes(answer, sys.byteorder)
            if unacknowledged > unsent:
                found.append((descriptor, unsent, unacknowledged))
    return tuple(found)
