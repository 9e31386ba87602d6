"""An event loop in a daemon thread of its own, and how other threads have something done there.

    new --start--> running --stop, or the thread's own end--> ended

- Whoever waits here is always answered: with what was asked for, after their time, or with the reason why the thread
  has ended. An answer that is still owed when the thread ends is given then.
- A loop that is blocked by what it runs (a callable of the test's that waits, say) can't answer. Whoever waits for it
  sees that it does not turn, and gets an error that names the blocked line.
- The interpreter's exit stops what still runs. In a forked child there is no thread, only a copy of its descriptors:
  these are closed there, without touching the loop, whose locks and sockets are the parent's.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import os
import selectors
import sys
import threading
import time
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar

from tcpclient_testing.errors import ScriptError

from .blocking import BlockedCall
from .debugger import debugger_active

__all__ = ["LoopThread"]

__unittest = True

T = TypeVar("T")

# How long (seconds) tasks that were cancelled may take to end, and turns of the loop until its transports are closed.
_PATIENCE = 1.0
_TURNS = 3


class LoopThread:
    """A loop and its thread.

    `patience` is the number of seconds after which a loop that does not turn counts as blocked. `ending` is called in
    the thread when it ends, and `forked` in a forked child, each to close what the loop has opened: there, raw
    descriptors only.
    """

    def __init__(self, patience: float, ending: Callable[[], None], forked: Callable[[], None]) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.error: Optional[BaseException] = None
        self.forked = False
        self._patience = patience
        self._close = ending
        self._close_in_child = forked
        self._selector: selectors.BaseSelector
        self._winding_up = False
        self._owed: set[concurrent.futures.Future[Any]] = set()
        self._thread: Optional[threading.Thread] = None

    def start(self, name: str) -> None:
        """Make the loop, and run it in a new thread. Raises `RuntimeError` where there can be no further thread."""
        self._selector = selectors.DefaultSelector()
        # Not what a policy says: the Proactor of Windows can't watch listening sockets.
        self.loop = asyncio.SelectorEventLoop(self._selector)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        _living.add(self)
        try:
            self._thread.start()
        except BaseException:
            _living.discard(self)
            self.loop.close()
            raise

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this thread."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended, or was never begun in this process."""
        return self.forked or self._thread is None or self not in _living

    # What other threads ask.

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread, and return or raise what it does."""
        if self.is_current:
            return function(*args)
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def answer() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(function(*args))
                except BaseException as error:  # noqa: BLE001 - whatever it is, it is the caller's
                    future.set_exception(error)
        self._post(future, answer)
        return self.answer(future)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Begin to run a coroutine in the thread; cancelling the future cancels it."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            self._post(future, lambda: self._begin(coroutine, future))
        except BaseException:
            coroutine.close()
            raise
        return future

    def answer(self, future: concurrent.futures.Future[T], timeout: Optional[float] = None,
               late: Callable[[], TimeoutError] = TimeoutError) -> T:
        """Wait for what was asked, and return or raise it.

        Raises the `TimeoutError` that `late` makes after `timeout` seconds; it is asked for no longer then. Raises
        `ScriptError` where the loop is blocked.
        """
        if self.is_current:
            raise ScriptError("this would wait, in the server's own thread, for that thread: await it")
        deadline = None if timeout is None else time.monotonic() + timeout
        try:
            while not self._wait(future, deadline):
                if deadline is not None and time.monotonic() >= deadline:
                    raise late()
                self._assert_turning()
        except BaseException:
            future.cancel()
            raise
        try:
            return future.result()
        except (AssertionError, ScriptError) as error:
            # They are about the script; the way through the loop is of no interest.
            raise error.with_traceback(None)  # noqa: B904 - the same exception
        finally:
            del future  # it has the exception, whose traceback has this frame

    def _wait(self, future: concurrent.futures.Future[Any], deadline: Optional[float]) -> bool:
        """Wait a while for an answer, and return whether it has come."""
        wait = self._patience if deadline is None else max(0.0, min(self._patience, deadline - time.monotonic()))
        try:
            future.exception(wait)
        except concurrent.futures.TimeoutError:
            return future.done()
        return True

    def stop(self) -> None:
        """End the loop and the thread, and wait for that; a second call does nothing."""
        thread = self._thread
        if self.ended or thread is None:
            return
        if self.is_current:
            raise ScriptError("a server can't be stopped in its own thread")
        with contextlib.suppress(RuntimeError):  # it ends by itself just now
            self.loop.call_soon_threadsafe(self._stop_running)
        thread.join(self._patience + 2 * _PATIENCE)
        if thread.is_alive():
            raise self._blocked()

    # In the thread.

    def _run(self) -> None:
        loop = self.loop
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - SystemExit of a callback, say: those who wait are told
            self.error = error
        finally:
            try:
                self._wind_up()
            finally:
                _living.discard(self)
                loop.close()
                self._fail_owed()

    def _stop_running(self) -> None:
        if not self._winding_up:
            self.loop.stop()

    def _wind_up(self) -> None:
        """Let tasks end and transports close, as asyncio.run does, but don't wait for ever."""
        self._winding_up = True
        loop = self.loop
        self._close()
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE))
        for _ in range(_TURNS):
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())

    def _begin(self, coroutine: Coroutine[Any, Any, T], future: concurrent.futures.Future[T]) -> None:
        if future.cancelled():
            coroutine.close()
            return
        task = self.loop.create_task(coroutine)

        def pass_on(task: asyncio.Task[T]) -> None:
            if not future.set_running_or_notify_cancel():
                if not task.cancelled():
                    task.exception()  # nobody asks any more
            elif task.cancelled():
                future.set_exception(self._gone())
            else:
                error = task.exception()
                if error is None:
                    future.set_result(task.result())
                else:
                    future.set_exception(error)
        task.add_done_callback(pass_on)
        future.add_done_callback(lambda future: self._cancel(task) if future.cancelled() else None)

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the task has ended
            self.loop.call_soon_threadsafe(task.cancel)

    # Answers that don't come by themselves.

    def _post(self, future: concurrent.futures.Future[Any], function: Callable[[], None]) -> None:
        self._owed.add(future)
        future.add_done_callback(self._owed.discard)
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            future.cancel()
            raise self._gone() from None
        if self.ended:
            self._fail_owed()

    def _fail_owed(self) -> None:
        for future in list(self._owed):
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(self._gone())

    def _gone(self) -> ScriptError:
        if self.forked:
            return ScriptError("this server lives in the process that was forked; make a new one in this process")
        if self.error is None:
            return ScriptError("this server was stopped; make a new one")
        gone = ScriptError(f"the server's thread has ended: {type(self.error).__name__}: {self.error}")
        gone.__cause__ = self.error
        return gone

    def _assert_turning(self) -> None:
        """Raise where the loop does not turn; it is given another while before that is believed."""
        if self.ended:
            self._fail_owed()
            return
        turned = threading.Event()
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(turned.set)
            if not turned.wait(self._patience) and not self.ended and not debugger_active():
                raise self._blocked()

    def _blocked(self) -> ScriptError:
        ident = None if self._thread is None else self._thread.ident
        frame = sys._current_frames().get(ident) if ident is not None else None
        if frame is None:
            return self._gone()
        place = BlockedCall(frame, self._patience, 1).place
        return ScriptError(f"the server's thread is blocked at {os.path.basename(place.filename)}:{place.lineno} "
                           f"({(place.line or place.name).strip()}): what a script has the server call must not wait")


# All that run, for the end of the process; and those of a parent process, which must not be collected in the child.
_living: set[LoopThread] = set()
_inherited: list[LoopThread] = []


def _stop_all() -> None:
    for thread in list(_living):
        with contextlib.suppress(Exception):
            thread.stop()


def _let_go_in_child() -> None:
    _inherited.extend(_living)
    _living.clear()
    for thread in _inherited:
        if not thread.forked:
            thread.forked = True
            with contextlib.suppress(Exception):
                thread._close_in_child()
            for name in ("_ssock", "_csock"):  # by which asyncio wakes a loop
                with contextlib.suppress(Exception):
                    getattr(thread.loop, name).close()
            with contextlib.suppress(Exception):
                thread._selector.close()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
