"""What can be known of a thread from outside: the processor time that it has used, whether it sleeps, what it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Optional

from tcpclient_testing.aio.native import originals

__all__ = ["WatchedThread", "meters", "sleeps"]

__unittest = True

_CPUCLOCK_PERTHREAD, _CPUCLOCK_SCHED = 4, 2


class WatchedThread:
    """A thread that runs an event loop. `ident` is its `originals.get_ident()`; `native_id` is the kernel's number.

    The number is needed only for a thread that `threading` does not know. Make this in the thread itself: if the loop
    runs in a greenlet, it is the one that is watched.
    """

    def __init__(self, ident: int, native_id: Optional[int] = None) -> None:
        self._ident = ident
        self._native_id = native_id
        self._greenlet = originals.current_greenlet()
        self._used: Optional[Callable[[], float]] = None

    def used(self) -> float:
        """Return the processor time that it has used, in seconds. Raises `OSError` if it has ended."""
        if self._used is None:
            native_id, self._used = meters(self._ident)
            self._native_id = native_id or self._native_id
        return self._used()

    def suspended(self) -> Optional[FrameType]:
        """Return the innermost frame of the loop's greenlet if that waits while others run; else None."""
        greenlet = None if self._greenlet is None else self._greenlet()
        frame: Optional[FrameType] = getattr(greenlet, "gr_frame", None)
        return frame

    def frame(self) -> Optional[FrameType]:
        """Return the innermost frame; None if the thread has ended."""
        frame = self.suspended()
        return frame if frame is not None else sys._current_frames().get(self._ident)

    def idles(self) -> bool:
        """Return whether it waits in an event loop of asyncio for something to happen: then nothing blocks that."""
        frame = self.frame()
        while frame is not None and frame.f_code.co_name in ("select", "_poll"):  # of a selector, or of a Proactor
            frame = frame.f_back
            if frame is not None and frame.f_code.co_name == "_run_once":
                return True
        return False

    def sleeps(self) -> bool:
        """Return whether it sleeps in the kernel."""
        return self.suspended() is not None or sleeps(self._native_id)


def meters(ident: int) -> tuple[Optional[int], Callable[[], float]]:
    """Return the kernel's number of a thread, and a function that returns the processor time it has used (seconds).

    Without a clock per thread (macOS, Windows), the clock of the process is used, less what the calling thread has used
    itself. Then a client that blocks while another thread computes isn't detected until the other thread has finished
    computing.
    """
    thread = next((thread for thread in threading.enumerate() if thread.ident == ident), None)
    native_id = None if thread is None else thread.native_id
    if sys.platform not in ("darwin", "win32") and thread is not None and thread.is_alive():
        with contextlib.suppress(AttributeError, OSError):
            clock = _clock_of(ident, native_id)
            time.clock_gettime(clock)
            return native_id, lambda: time.clock_gettime(clock)
    return native_id, used_by_other_threads


def used_by_other_threads() -> float:
    """Return the processor time that all threads but the calling one have used, in seconds."""
    return time.process_time() - time.thread_time()


def _clock_of(ident: int, native_id: Optional[int]) -> int:
    """Return the processor-time clock of a living thread."""
    if hasattr(time, "pthread_getcpuclockid"):
        return int(time.pthread_getcpuclockid(ident))  # undefined for a thread that has ended
    if sys.platform != "linux" or native_id is None:
        raise OSError("no clock for each thread is known")
    # PyPy lacks that function. This is what it computes (the kernel's include/linux/posix-timers_types.h).
    return ~native_id << 3 | _CPUCLOCK_PERTHREAD | _CPUCLOCK_SCHED


def sleeps(native_id: Optional[int]) -> bool:
    """Return whether a thread sleeps in the kernel (proc(5)); True if the system doesn't say."""
    try:
        with open(f"/proc/self/task/{native_id}/stat", "rb") as file:
            # The thread's name, in parentheses, may contain anything: the state follows the last parenthesis.
            return file.read().rpartition(b")")[2].split()[0] == b"S"
    except (OSError, IndexError):
        return True
