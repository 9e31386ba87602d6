"""The outcome of one call in another thread.

    open --give, fail--> done
      `--cancel--> cancelled --give, fail--> done: nobody waits for it any more

Ctrl-C raises `KeyboardInterrupt` between any two instructions of the main thread, so also inside the lock of a
`concurrent.futures.Future` or of a `threading.Event`, which are written in Python. The lock stays locked then, and the
server's thread waits for it for ever. Here each change of the state is one instruction.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any, Callable, Generic, Optional, TypeVar

from tcpclient_testing.aio.native import originals

__all__ = ["Reply"]

__unittest = True

T = TypeVar("T")

# Seconds between two looks for an outcome, beside greenlets.
_SHORTEST, _LONGEST = 0.0005, 0.01


class Reply(Generic[T]):
    """What a call returns or raises. `done` is called with the reply, in the thread that gives the outcome."""

    __slots__ = ("cancelled", "_outcomes", "_latch", "_waking", "_cancelling", "_done")

    def __init__(self, done: Callable[[Reply[T]], None] = lambda _: None) -> None:
        #: Whether the caller has given up.
        self.cancelled = False
        self._outcomes: list[tuple[Optional[BaseException], Any]] = []  # the first one counts
        self._latch = originals.allocate_lock()
        self._latch.acquire()
        self._waking: list[Callable[[], None]] = []
        self._cancelling: list[Callable[[], None]] = []
        self._done = done

    # Called where the outcome is known.

    def give(self, value: T) -> None:
        """The call has returned `value`. Only the first outcome counts."""
        self._settle(None, value)

    def fail(self, error: BaseException) -> None:
        """The call has raised `error`. Only the first outcome counts."""
        self._settle(error, None)

    def _settle(self, error: Optional[BaseException], value: Any) -> None:
        self._outcomes.append((error, value))
        with contextlib.suppress(RuntimeError):  # released already
            self._latch.release()
        for wake in list(self._waking):
            wake()
        self._done(self)

    @property
    def awaited(self) -> bool:
        """Whether the caller still waits: there is no outcome, and it has not given up."""
        return not (self.cancelled or self._outcomes)

    def when_cancelled(self, function: Callable[[], None]) -> None:
        """Call `function` when the caller gives up; at once if it has given up."""
        self._cancelling.append(function)
        if self.cancelled:
            function()

    # Called where the outcome is waited for.

    def wait(self, seconds: float) -> bool:
        """Block until there is an outcome, but not longer than so many seconds. Return whether there is one.

        If the calling thread has greenlets, they go on meanwhile.
        """
        pause = None if self._outcomes else originals.greenlets_pause()
        if pause is not None:
            return self._wait_beside_greenlets(seconds, pause)
        if not self._outcomes and self._latch.acquire(timeout=max(0.0, seconds)):
            with contextlib.suppress(RuntimeError):
                self._latch.release()
        return bool(self._outcomes)

    def _wait_beside_greenlets(self, seconds: float, pause: Callable[[float], object]) -> bool:
        # Only this thread could wake them by an event of theirs: so look again and again. Most answers are here before
        # the first look.
        until, interval = time.monotonic() + seconds, _SHORTEST
        if self._latch.acquire(timeout=max(0.0, min(seconds, interval))):
            with contextlib.suppress(RuntimeError):
                self._latch.release()
        while not self._outcomes and time.monotonic() < until:
            pause(min(interval, max(0.0, until - time.monotonic())))
            interval = min(interval * 1.5, _LONGEST)
        return bool(self._outcomes)

    def result(self) -> T:
        """Return what the call has returned, or raise what it has raised. There must be an outcome."""
        error, value = self._outcomes[0]
        if error is not None:
            try:
                raise error
            finally:
                del error  # breaks a cycle: its traceback has this frame
        result: T = value
        return result

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.cancelled = True
        for function in list(self._cancelling):
            function()

    def future(self) -> asyncio.Future[T]:
        """Return a future of the running loop that gets the outcome. If it is cancelled, so is this reply."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def pass_on() -> None:
            error, value = self._outcomes[0]
            if future.done():
                return
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)

        def wake() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(pass_on)
        future.add_done_callback(lambda future: self.cancel() if future.cancelled() else None)
        self._waking.append(wake)
        if self._outcomes:
            wake()
        return future
