"""Detects a client that blocks the event loop of its own server, and calls the server's guard from a thread of its own.

Neither of them can go on, and no timer of the loop fires. So one
daemon thread per process watches from outside. It acts only when all of this holds:

- The loop hasn't turned for `timeout` seconds of real time: a callback that the thread posted has not run.
- The loop's thread has slept in the kernel all that time: it used next to no processor time, and it sleeps now. A test
  that computes is left alone, however long it takes. If the loop runs in a greenlet, it has waited for as long.
- The server says that something wants its attention, and that the thread waits for that. It has said so for a tenth of
  a second. A test that merely sleeps is left alone, even if it closes its client just before the loop turns.
- No debugger is active.

A client may give up by itself before that. So the thread looks in between, too, every tenth of a second: if the loop's
thread waits for a client, it notes the call. `Watch.noticed` returns that for as long as the loop hasn't turned since.

The cost while nothing blocks: each watch posts one callback in its loop every quarter of its timeout, and the thread
wakes up every tenth of a second (0.15 % of a processor; less often if there are many watches). The first comes after
a tenth, so most tests never see one.

Limit. A client that holds the GIL while it blocks can't be detected.

The thread starts with the first watch and ends about a second after the last. It has the attribute
``tcpclient_testing_owned``, for tools that count threads. ``TCPCLIENT_TESTING_WATCHDOG=0`` in the environment keeps it
from starting: from Python 3.12 on, ``os.fork()`` warns while any other thread runs.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Optional, Union, cast

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.native.threads import NativeThread

from .blocked_call import BlockedCall
from .debugger import debugger_active
from .watched_thread import WatchedThread

__all__ = ["Watch", "watch"]

__unittest = True

LINGER = 1.0  # seconds that the thread keeps running without a watch, so that the next test can use it
_SHORTEST, _LONGEST = 0.1, 5.0  # limits of the seconds between two checks of a loop
_WANTED = 0.1  # seconds that the server must want attention
_AGAIN = 0.1  # seconds between attempts to free a blocked call
_NOTICE = 0.1  # seconds between two looks for a client that may give up by itself; for one of many watches,
_NOTICE_EACH = 0.002  # so many for each of them, if that is more
_QUIET = 0.05  # the share of a processor below which a thread counts as asleep
_OVERSLEPT = 0.5  # a check later than this (seconds) means that the process was stopped or starved
_monotonic = time.monotonic  # the real clock, even if a test replaces time.monotonic


class Watch:
    """The watch on one server's loop. Make it with `watch()`, and call `stop()` when the server stops."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        thread_id: int,
        timeout: float,
        attention: Callable[[], bool],
        free: Callable[[BlockedCall], None],
        native_id: Optional[int] = None,
    ) -> None:
        self._loop = loop
        self._thread = WatchedThread(thread_id, native_id)
        self._timeout = timeout
        self._attention = attention
        self._free = free
        self._period = min(max(timeout / 4, _SHORTEST), _LONGEST)
        self._acting: Optional[int] = None  # the thread in which `attention` or `free` runs
        self._stopped = False
        self._posted = False  # whether our callback is in the loop and has not run yet
        self._posted_at = 0.0
        self._attempt = 0
        self._asleep = 0.0  # seconds that the loop's thread has slept until now, without a break, since `_posted_at`
        self._wanted_since: Optional[float] = None  # since when each check has found that the server wants it
        self._looked_at = _monotonic()
        self._used = 0.0  # processor time at the last check
        self._noticed: Optional[BlockedCall] = None  # what has blocked the loop since `_posted_at`
        self._used_at_notice = 0.0
        self._notice_at = self._looked_at + _NOTICE
        self.due = self._looked_at + self._period  # when to check next

    def start(self) -> None:
        """Begin to watch. See `watch` for when nothing is watched."""
        if os.environ.get("TCPCLIENT_TESTING_WATCHDOG") != "0":
            _add(self)

    def beat(self) -> None:
        """Note that the loop has turned. Any code in the loop may call this; it costs one assignment."""
        self._posted = False

    def stop(self) -> None:
        """End the watch. Once this returns, `attention` and `free` aren't called again. Idempotent."""
        self._stopped = True
        _remove(self)
        # Wait for a running `free`, which could break sockets that have a new owner.
        while self._acting not in (None, originals.get_ident()):
            originals.sleep(0.001)

    @property
    def wakes_at(self) -> float:
        """When to call `notice`, or `look`."""
        return min(self.due, self._notice_at)

    @property
    def suspended(self) -> Optional[FrameType]:
        """The innermost frame of the loop's greenlet if that waits. What its thread computes meanwhile is not its."""
        return self._thread.suspended()

    def noticed(self) -> Optional[BlockedCall]:
        """Return the call that has blocked the loop until now, if one was noticed. Call this in the loop's thread."""
        call = self._noticed
        if call is None or not self._posted or self._stopped:
            return None
        call.last(_monotonic() - self._posted_at)
        return call

    def blocked_for(self) -> float:
        """Return for how many seconds the loop hasn't turned, as far as that is known. Any thread may call this."""
        return _monotonic() - self._posted_at if self._posted else 0.0

    def notice(self) -> None:
        """Check whether a call blocks the loop, and `look` if that is `due`. The watchdog's thread calls this."""
        now = _monotonic()
        if self.due <= now:
            self.look()
        if self._notice_at > now or self._stopped:
            return
        elapsed = now - self._notice_at + _NOTICE
        self._notice_at = now + max(_NOTICE, _NOTICE_EACH * len(_watches))
        used = self._processor()
        if used is None:
            return
        busy = used - self._used_at_notice > _QUIET * elapsed and not self.suspended
        self._used_at_notice = used
        if busy or self._attempt or self._thread.idles():
            return
        if not self._posted:
            self._post(now, used)
        frame = self._thread.frame() if self._noticed is None and self._thread.sleeps() else None
        if frame is None:
            return
        call = BlockedCall(frame, _monotonic() - self._posted_at, 0)  # now: the call may return at any moment
        del frame
        if self._wanted():
            self._noticed = call

    def _processor(self) -> Optional[float]:
        """Return the processor time that the loop's thread has used. If it has ended, stop and return None."""
        try:
            return self._thread.used()
        except OSError:
            self.stop()
            return None

    def _post(self, now: float, used: float) -> None:
        """Post a callback in the loop, and wait for it from now on. If the loop is closed, stop."""
        self._posted, self._posted_at, self._attempt, self._asleep = True, now, 0, 0.0
        self._looked_at, self._used = now, used
        self._wanted_since = self._noticed = None
        self.due = now + self._period
        try:
            self._loop.call_soon_threadsafe(self.beat)
        except RuntimeError:
            self.stop()

    def look(self) -> None:
        """Check whether the loop has turned since the last call. Call this when it is `due`."""
        if self._loop.is_closed():  # nobody has stopped the watch
            self.stop()
            return
        now = _monotonic()
        late = now - self.due > _OVERSLEPT
        elapsed, self._looked_at = now - self._looked_at, now
        self.due = now + self._period
        used = self._processor()
        if used is None:
            return
        if not self._posted:
            self._post(now, used)
            return
        busy = used - self._used > _QUIET * elapsed and not self.suspended
        self._used = used
        # If this thread is late, the whole process was stopped or starved. Then the sleep proves nothing.
        self._asleep = 0.0 if busy or late else self._asleep + elapsed
        if not self._asleep or not self._thread.sleeps() or not self._wanted():
            self._wanted_since = None
        elif self._wanted_since is None:
            self._wanted_since = now
        needed = _AGAIN if self._attempt else self._timeout
        left = max(needed - self._asleep, _WANTED - (now - (self._wanted_since or now)))
        # A rounding error of the clock must not cost another period.
        if left > 0.001:
            self.due = now + min(self._period, left)
        elif self._wanted_since is not None:
            self._act(now)

    def _wanted(self) -> bool:
        try:
            self._acting = originals.get_ident()
            return not self._stopped and self._posted and self._attention()
        finally:
            self._acting = None

    def _act(self, now: float) -> None:
        if debugger_active():
            self._asleep = 0.0
            return
        try:
            self._acting = originals.get_ident()
            if self._stopped or not self._posted:
                return
            frame = self._thread.frame()
            if frame is None or not self._posted:
                return
            self._attempt += 1
            self.due = now + _AGAIN
            blocked = BlockedCall(frame, now - self._posted_at, self._attempt)
            del frame  # it would keep the caller's variables alive
            self._free(blocked)
        finally:
            self._acting = None


def watch(
    loop: asyncio.AbstractEventLoop,
    thread_id: int,
    timeout: float,
    attention: Callable[[], bool],
    free: Callable[[BlockedCall], None],
    native_id: Optional[int] = None,
) -> Watch:
    """Watch a loop for a call that blocks it, until `Watch.stop()`.

    - `thread_id` is `originals.get_ident()` of the loop's thread, `native_id` the kernel's number of it.
    - `timeout` is the time for which the loop must not have turned, in real seconds. The call is detected at most a
      quarter of it (0.1 s at least, 5 s at most) later, or a tenth of a second after something began to want attention.
    - `attention()` returns whether one of the server's sockets is `readable()`, or an action is due, and the loop's
      thread waits for that.
    - `free(blocked)` must break the sockets, with `free_sockets()`, so that the call returns. It is called again every
      tenth of a second in which the thread sleeps, with a higher `attempt`, until the loop turns.

    Both functions are called from the watchdog's thread, while the loop's thread blocks: they must not wait for the
    loop. An exception in either is passed to ``threading.excepthook``, and ends the watch.

    If no thread can be started, or ``TCPCLIENT_TESTING_WATCHDOG`` is ``0``, the watch does nothing.
    """
    made = Watch(loop, thread_id, timeout, attention, free, native_id)
    made.start()
    return made


# The thread. It shares no lock with others: Ctrl-C can leave one locked, and then the thread would hang. Each change
# of the state below is one instruction. After `_wake` is released, the thread looks again what is due.

_wake = originals.allocate_lock()
_wake.acquire()
_watches: set[Watch] = set()
_thread: Optional[_Thread] = None
_last: Optional[_Thread] = None  # the thread that ended last
_ends_at = 0.0  # from when on the thread ends if there is no watch


class _Watching:
    """Calls `notice` of each watch when it is due. An exception ends only the watch that raised it."""

    tcpclient_testing_owned = True
    wakes_at = 0.0  # a new watch that is due earlier must wake the thread; 0 while it is awake

    def run(self) -> None:
        while self._wait():
            self._notice()

    def _notice(self) -> None:
        for watch in [watch for watch in list(_watches) if watch.wakes_at <= _monotonic()]:
            try:
                watch.notice()
            except BaseException:  # noqa: BLE001 - the other watches must go on
                watch.stop()
                _report()

    def _wait(self) -> bool:
        """Wait until a watch is due, but a second at most. Return whether the thread is still needed."""
        global _thread, _last
        if _thread is not self:  # another thread has begun, when nobody knew that this one goes on
            return False
        now, watches = _monotonic(), list(_watches)
        if not watches and now >= _ends_at:
            _last, _thread = self, None
            if not _watches or _thread is not None:
                return False
            _thread = self  # somebody has just added a watch
        until = now + LINGER if watches else _ends_at
        wakes_at = self.wakes_at = min([until, *(watch.wakes_at for watch in watches)])
        watches.clear()  # a watch that is stopped meanwhile, and its server, must not be kept alive
        # At most a second, whatever the clock says: a clock that was set back must not stop the checks for hours.
        _wake.acquire(timeout=min(max(0.0, wakes_at - now), LINGER))
        self.wakes_at = 0.0
        return True


class _Watchdog(_Watching, threading.Thread):
    """The thread."""


class _NativeWatchdog(_Watching, NativeThread):
    """The thread where those of `threading` are greenlets. As such it would not run while the test blocks."""


_Thread = Union[_Watchdog, _NativeWatchdog]


def last_ended() -> Optional[threading.Thread]:
    """Return the watchdog's thread that ended last. If it is still alive, it is about to end."""
    return cast("Optional[threading.Thread]", _last)


def _add(watch: Watch) -> None:
    global _thread
    _watches.add(watch)
    thread = _thread
    if thread is None or not thread.is_alive():
        kind = _NativeWatchdog if originals.patched() else _Watchdog
        _thread = thread = kind(name="tcpclient_testing watchdog", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # too many threads, the interpreter is shutting down, or it is a subinterpreter
            _thread = None
            _watches.discard(watch)
    elif watch.wakes_at < thread.wakes_at:
        _notify()


def _notify() -> None:
    with contextlib.suppress(RuntimeError):  # it is released already
        _wake.release()


def _remove(watch: Watch) -> None:
    global _ends_at
    if watch in _watches:
        _ends_at = _monotonic() + LINGER
        _watches.discard(watch)


def _report() -> None:
    with contextlib.suppress(Exception):
        threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))


def _end() -> None:
    """End the thread before the interpreter shuts down."""
    global _ends_at
    thread = _thread
    _watches.clear()
    _ends_at = 0.0
    _notify()
    if thread is not None:
        thread.join(1.0)


def _forget() -> None:
    """Reset the state in a forked child: it has no watchdog."""
    global _wake, _thread, _last
    _wake = originals.allocate_lock()
    _wake.acquire()
    _thread = _last = None
    for watch in _watches:
        watch._acting = None
        watch._stopped = True
    _watches.clear()


atexit.register(_end)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
