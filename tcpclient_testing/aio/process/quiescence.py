"""Finds what can still happen by itself: living threads, living child processes, data that the kernel holds back.

A virtual clock may jump only if nothing can happen before the next timer. The event loop knows its own callbacks,
sockets and executor jobs. Three functions answer the questions about the rest of the process. They ask the operating
system or the interpreter, and none of them waits:

* `living_thread`: does another thread live that could do something?
* `child_lives`: does a child process live?
* `held_back`: has a socket sent data that the kernel will deliver only after a delay of its own?

Limit. Only this process and its children are seen, not a server in a container, a daemon that has detached itself, or
a device. Nothing can say whether those are about to send something.
"""

from __future__ import annotations

import _thread
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Collection, Iterable
from typing import Any, Optional

from tcpclient_testing.aio.native import originals

from .threads import is_tools_frame, is_tools_thread, sleeps

if sys.platform == "linux":
    import fcntl
    import termios

__all__ = ["child_lives", "held_back", "living_thread", "own_thread", "rests_while"]

__unittest = True

_child_lives: Optional[Callable[[], bool]] = None
_own_threads: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_resting: weakref.WeakKeyDictionary[threading.Thread, weakref.WeakMethod[Callable[[], bool]]] = \
    weakref.WeakKeyDictionary()


def own_thread(thread: threading.Thread) -> threading.Thread:
    """Ignore a thread: virtual time may jump although the thread lives. Return the thread.

    Use it for a thread that only watches and never does anything that a test waits for: the library's watchdog,
    a sampler of statistics. Never use it for a thread that serves a connection, computes an answer or sets an event:
    its reply would come after every time-out. Call it before `thread.start()`. The thread is forgotten when it is
    garbage collected.
    """
    _own_threads.add(thread)
    return thread


def rests_while(thread: threading.Thread, resting: Callable[[], bool]) -> None:
    """Ignore a thread whenever `resting`, a method, returns true: it does nothing then that a test could wait for."""
    _resting[thread] = weakref.WeakMethod(resting)


def living_thread(idle: Collection[threading.Thread] = (),
                  standing: Collection[threading.Thread] = ()) -> Optional[str]:
    """Name a living thread other than the calling one, or return None.

    Ignored are

    - threads for which `own_thread()` was called, and those for which `rests_while()` was, while they rest
    - the threads in `idle` (workers of an executor that has no job)
    - threads of a debugger and of tools that run tests
    - those threads in `standing` (threads that lived before the loop) that are at rest: see `sleeps`

    Where what `threading` starts are greenlets, nobody knows.

    A thread that `threading` does not know counts if Python code runs in it, or if `_thread.start_new_thread()` has
    started it.
    """
    if originals.patched():
        return "a greenlet may live"
    while count := _thread._count():  # usually 0 (takes 30 ns): the main thread isn't counted, but then it's the caller
        found = _find_living_thread(count, idle, standing)
        if found is not _UNKNOWN or not (_threads_end() or _thread._count() < count):
            return found
    return None


_UNKNOWN = "a thread that was not started through threading lives"


def _find_living_thread(count: int, idle: Collection[threading.Thread],
                        standing: Collection[threading.Thread]) -> Optional[str]:
    """Name one of `count` threads that is neither ignored nor the caller, or return None."""
    me = threading.get_ident()
    main = threading.main_thread()
    threads = threading.enumerate()
    for thread in threads:
        ident = thread.ident
        if isinstance(thread, threading._DummyThread):
            # A thread that C or _thread has started. Before Python 3.13 the entry outlives its thread.
            frame = sys._current_frames().get(ident or 0)
            if frame is None:
                continue
            if ident != me and thread not in _own_threads and not is_tools_frame(frame):
                return f"thread {thread.name!r} lives"
        elif not (ident == me or thread in _own_threads or thread in idle or _is_nobodys(thread)
                  or (thread in standing and sleeps(thread))):
            for other in standing:
                sleeps(other)  # observe all from now on: else each would need its own time to be at rest
            return f"thread {thread.name!r} lives"
        if thread is not main:
            count -= 1
    if count > 0:
        known = {thread.ident for thread in threads}
        count -= sum(ident not in known and (ident == me or is_tools_frame(frame))
                     for ident, frame in sys._current_frames().items())
    # `count` still includes a thread that is just ending, or that has ended since it was counted.
    return _UNKNOWN if count > 0 else None


def _threads_end() -> bool:
    """Wait for threads that are just ending. Return whether there were any.

    `threading` forgets a thread some instructions before the interpreter stops counting it. In between it looks like
    a thread that `threading` never knew. None of the thread's own code runs any more, so the wait is very short.
    """
    from tcpclient_testing.aio.process import watchdog  # here: load it only when it is needed

    known = set(threading.enumerate())
    dummy = threading._DummyThread  # claims to live, always
    try:
        made: set[Optional[threading.Thread]] = set(getattr(threading, "_dangling", ()))  # all that are not garbage
    except RuntimeError:  # another thread has just made one
        return True
    made.add(watchdog.last_ended())  # nobody else keeps it, so it may be garbage before it has ended
    ending = [thread for thread in made - known
              if thread is not None and not isinstance(thread, dummy) and thread.is_alive()]
    for thread in ending:
        thread.join(1.0)
    return bool(ending)


def _is_nobodys(thread: threading.Thread) -> bool:
    """Whether a thread is the watchdog's or pydevd's (PyCharm, VS Code), which mark their threads, or a tool's.

    Or that of a server that nobody uses now.
    """
    return getattr(thread, "tcpclient_testing_owned", False) is True \
        or getattr(thread, "is_pydev_daemon_thread", False) is True or is_tools_thread(thread) \
        or _rests(thread)


def _rests(thread: threading.Thread) -> bool:
    resting = _resting.get(thread)
    method = None if resting is None else resting()
    return method is not None and method()


def _find_child_lives() -> Callable[[], bool]:
    """Choose how to ask for living children: by one system call, which takes 2 µs, reaps nothing and changes nothing.

    `waitid()` without WEXITED fails with ECHILD if no child can change its state any more. It counts every child, no
    matter which code and which thread started it. On Linux it ignores children that have ended and wait to be reaped.
    On other systems these may count as alive until they are reaped; then time is real for longer, and nothing else.

    The alternatives see less:

    - `/proc/self/task/*/children` needs a kernel option that many kernels don't have.
    - `subprocess._active` knows only processes whose `Popen` objects were thrown away.
    - Child watchers know only what asyncio has started.
    """
    system: Any = os
    if hasattr(system, "waitid"):
        options = system.WSTOPPED | system.WNOHANG | system.WNOWAIT

        def ask() -> bool:
            try:
                system.waitid(system.P_ALL, 0, options)
            except ChildProcessError:
                return False
            return True
        return ask
    with contextlib.suppress(ImportError, OSError, AttributeError):
        if sys.platform == "win32":
            return _child_lives_in_a_snapshot()
        # The C library has it, though Python doesn't: on macOS before 3.13, and in PyPy.
        return _child_lives_through_libc(*((0x08, 0x01, 0x20) if sys.platform == "darwin" else (2, 1, 0x01000000)))
    return lambda: False


def _child_lives_through_libc(stopped: int, no_hang: int, no_wait: int) -> Callable[[], bool]:
    """Make a function that asks `waitid()` of the C library.

    The arguments are the numbers that the library has for WSTOPPED, WNOHANG and WNOWAIT.
    """
    import ctypes

    waitid = ctypes.CDLL(None, use_errno=True).waitid
    siginfo = ctypes.create_string_buffer(256)  # a siginfo_t has 104 to 128 bytes
    options = stopped | no_hang | no_wait
    return lambda: bool(waitid(0, 0, siginfo, options) == 0)  # P_ALL is 0 everywhere


def _child_lives_in_a_snapshot() -> Callable[[], bool]:
    """Make a function that looks for children in Windows' list of processes (CreateToolhelp32Snapshot).

    A process that has ended is in the list until all handles to it are closed, and a number may belong to a process
    that came later. So this says too often that a child lives; then time is real for longer, and nothing else.
    """
    import ctypes

    class Entry(ctypes.Structure):
        """A process in the list: PROCESSENTRY32W."""

        _fields_ = [("size", ctypes.c_uint32), ("usage", ctypes.c_uint32), ("process", ctypes.c_uint32),
                    ("heap", ctypes.c_size_t), ("module", ctypes.c_uint32), ("threads", ctypes.c_uint32),
                    ("parent", ctypes.c_uint32), ("priority", ctypes.c_int32), ("flags", ctypes.c_uint32),
                    ("name", ctypes.c_wchar * 260)]

    kernel: Any = getattr(ctypes, "WinDLL")("kernel32", use_last_error=True)  # noqa: B009 - it exists on Windows only
    kernel.CreateToolhelp32Snapshot.restype = ctypes.c_void_p
    kernel.CreateToolhelp32Snapshot.argtypes = ctypes.c_uint32, ctypes.c_uint32
    for name in "Process32FirstW", "Process32NextW":
        getattr(kernel, name).argtypes = ctypes.c_void_p, ctypes.POINTER(Entry)
    kernel.CloseHandle.argtypes = (ctypes.c_void_p,)
    invalid = ctypes.c_void_p(-1).value
    me = os.getpid()

    def ask() -> bool:
        snapshot = kernel.CreateToolhelp32Snapshot(0x2, 0)  # TH32CS_SNAPPROCESS
        if snapshot == invalid:
            return False
        try:
            entry = Entry(size=ctypes.sizeof(Entry))
            found = kernel.Process32FirstW(snapshot, entry)
            while found:
                if entry.parent == me and entry.process != me:
                    return True
                found = kernel.Process32NextW(snapshot, entry)
            return False
        finally:
            kernel.CloseHandle(snapshot)
    return ask


def child_lives() -> bool:
    """Return whether a child process of this process lives, however it was started.

    A grandchild whose parent has ended (a daemon) is no longer a child and is not seen.
    The helper processes of `multiprocessing` (resource tracker, fork server) are children and live until the end.
    """
    global _child_lives
    if _child_lives is None:
        _child_lives = _find_child_lives()
    return _child_lives()


_SIOCOUTQNSD = 0x894B  # linux/sockios.h: bytes not yet sent; TIOCOUTQ (SIOCOUTQ): bytes not yet acknowledged


def held_back(descriptors: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    """List the TCP sockets that have unsent data and wait for an acknowledgement: (descriptor, unsent, unacknowledged).

    The kernel will send that data by itself: after at most about 40 ms (delayed acknowledgement, RFC 1122 4.2.3.2,
    for a socket with Nagle's algorithm, RFC 896) or 200 ms (a retransmission, RFC 6298). So something is still under
    way although no socket is ready.

    A socket is not listed if its peer's buffer is full: then only unsent data is unacknowledged, and nothing moves
    until somebody reads. Descriptors that are not TCP sockets are ignored. Linux only; elsewhere the result is empty.
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
