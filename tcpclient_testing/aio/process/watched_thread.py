"""What can be known of a thread from outside: the processor time that it has used, whether it sleeps, what it runs."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Optional

__all__ = ["WatchedThread", "meters", "sleeps"]

__unittest = True


class WatchedThread:
    """A thread that runs an event loop. `ident` is ``threading.get_ident()`` there."""

    def __init__(self, ident: int) -> None:
        self._ident = ident
        self._native_id: Optional[int] = None
        self._used: Optional[Callable[[], float]] = None

    def used(self) -> float:
        """Return the processor time that it has used, in seconds. Raises `OSError` if it has ended."""
        if self._used is None:
            self._native_id, self._used = meters(self._ident)
        return self._used()

    def frame(self) -> Optional[FrameType]:
        """Return the innermost frame; None if the thread has ended."""
        return sys._current_frames().get(self._ident)

    def idles(self) -> bool:
        """Return whether it waits in an event loop of asyncio for something to happen: then nothing blocks that."""
        frame = self.frame()
        return frame is not None and frame.f_back is not None and frame.f_globals.get("__name__") == "selectors" \
            and frame.f_back.f_code.co_name == "_run_once"

    def sleeps(self) -> bool:
        """Return whether it sleeps in the kernel."""
        return sleeps(self._native_id)


def meters(ident: int) -> tuple[Optional[int], Callable[[], float]]:
    """Return the kernel's number of a thread, and a function that returns the processor time it has used (seconds).

    Without a clock per thread (macOS, Windows), the clock of the process is used. Then a client that blocks while
    another thread computes isn't detected until the other thread has finished computing.
    """
    thread = next((thread for thread in threading.enumerate() if thread.ident == ident), None)
    native_id = None if thread is None else thread.native_id
    if sys.platform not in ("darwin", "win32") and thread is not None and thread.is_alive():
        with contextlib.suppress(AttributeError, OSError):
            clock = time.pthread_getcpuclockid(ident)  # undefined for a thread that has ended
            time.clock_gettime(clock)
            return native_id, lambda: time.clock_gettime(clock)
    return native_id, time.process_time


def sleeps(native_id: Optional[int]) -> bool:
    """Return whether a thread sleeps in the kernel (proc(5)); True if the system doesn't say."""
    try:
        with open(f"/proc/self/task/{native_id}/stat", "rb") as file:
            # The thread's name, in parentheses, may contain anything: the state follows the last parenthesis.
            return file.read().rpartition(b")")[2].split()[0] == b"S"
    except (OSError, IndexError):
        return True
