"""Runs an event loop in its own daemon thread, and lets other threads call functions and coroutines there.

    new --start--> running --stop, or the thread's own end--> ended

- Every caller gets an answer: the result, a time-out, or the reason why the thread has ended. When the thread ends,
  calls that are still unanswered get that reason.
- A loop that is blocked by what it runs (for example, by a callable of the test that waits) can't answer. The watchdog
  notices that, or else its callers, as it does not turn. Then it is given up: callers get an error that names the
  blocked line, and nobody waits for the thread any more. If it goes on some time, it ends by itself.
- At the interpreter's exit, threads that still run are stopped. A forked child has no such thread, only copies of its
  descriptors. They are closed there without touching the loop, whose locks and sockets belong to the parent.
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

from tcpclient_testing.aio.process.blocked_call import BlockedCall
from tcpclient_testing.aio.process.debugger import debugger_active
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.tracebacks import told_of
from tcpclient_testing.server.forgotten import tell_of_all

__all__ = ["LoopThread", "idle_threads", "server_threads", "waiting_threads"]

__unittest = True

T = TypeVar("T")

# How many seconds cancelled tasks may take to end, and in how many turns the loop closes its transports.
_PATIENCE = 1.0
_TURNS = 3


def server_threads() -> list[threading.Thread]:
    """Return the threads of all servers."""
    return [each.thread for each in list(_living) if each.thread is not None]


def idle_threads(caller: threading.Thread) -> list[threading.Thread]:
    """Return `caller`, and the threads of those servers that only wait for clients: they have no handler, say."""
    return [caller, *(each.thread for each in list(_living) if each.thread is not None
                      and not asyncio.all_tasks(each.loop))]


class LoopThread:
    """An event loop and its thread.

    - `patience` is the number of seconds after which a caller asks whether the loop turns. If it does not for as long
      again, it counts as blocked.
    - `ending` is called in the thread when it ends; it closes what the loop has opened.
    - `forked` is called in a forked child; it closes the same, but only as raw descriptors.
    - `blocked` is called in another thread when the loop is given up, with the call that blocks it.
    - `why` makes the exception that callers get then.
    """

    def __init__(self, patience: float, ending: Callable[[], None], forked: Callable[[], None],
                 blocked: Callable[[BlockedCall], None], why: Callable[[], Exception]) -> None:
        self.loop: asyncio.AbstractEventLoop
        self.error: Optional[BaseException] = None
        self.forked = False
        self.given_up = False
        self._patience = patience
        self._close = ending
        self._close_in_child = forked
        self._when_blocked = blocked
        self._why = why
        self._lock = threading.Lock()  # held while it is given up
        self._selector: selectors.BaseSelector
        self._winding_up = False
        self._owed: set[concurrent.futures.Future[Any]] = set()
        self._thread: Optional[threading.Thread] = None

    def start(self, name: str) -> None:
        """Make the loop, and run it in a new thread. Raises `RuntimeError` if no thread can be started."""
        self._selector = selectors.DefaultSelector()
        # Don't ask the event-loop policy: the Proactor loop of Windows can't watch listening sockets.
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
    def thread(self) -> Optional[threading.Thread]:
        """The thread, once it was started."""
        return self._thread

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this thread."""
        return self._thread is not None and self._thread.ident == threading.get_ident()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended, or was never started in this process."""
        return self.forked or self._thread is None or self not in _living

    def gone(self) -> Exception:
        """Make an exception that says why nothing can be called in this thread any more."""
        if self.given_up:
            return self._why()
        if self.forked:
            return ScriptError("this server belongs to the parent process; make a new one in this process")
        if self.error is None:
            return ScriptError("this server was stopped; make a new one")
        gone = ScriptError(f"the server's thread has ended: {type(self.error).__name__}: {self.error}")
        gone.__cause__ = self.error
        return gone

    def forget_error(self) -> None:
        """The error with which the thread has ended was raised to a caller: don't raise it again."""
        self.error = None

    # Called by other threads.

    def call(self, function: Callable[..., T], *args: Any) -> T:
        """Call a function in the thread. Return its result, or raise its exception."""
        if self.is_current:
            return function(*args)
        future: concurrent.futures.Future[T] = concurrent.futures.Future()

        def answer() -> None:
            if _is_waited_for(future):
                try:
                    future.set_result(function(*args))
                except BaseException as error:  # noqa: BLE001 - every exception goes to the caller
                    with contextlib.suppress(concurrent.futures.InvalidStateError):
                        future.set_exception(error)
        self._post(future, answer)
        return self.answer(future)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> concurrent.futures.Future[T]:
        """Start a coroutine in the thread. Cancelling the returned future cancels the coroutine."""
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        try:
            self._post(future, lambda: self._begin(coroutine, future))
        except BaseException:
            coroutine.close()
            raise
        return future

    def answer(self, future: concurrent.futures.Future[T], timeout: Optional[float] = None,
               late: Callable[[], TimeoutError] = TimeoutError) -> T:
        """Wait for a future of `submit`. Return its result, or raise its exception.

        After `timeout` seconds, cancel the future and raise the `TimeoutError` that `late` makes. If the loop is
        blocked, it is given up. Raises `ScriptError` if the caller is in this thread.
        """
        if self.is_current:
            raise ScriptError("this call would block the server's own thread: await it instead")
        deadline = None if timeout is None else time.monotonic() + timeout
        caller = threading.current_thread()
        _answering.append(caller)
        try:
            while not self._wait(future, deadline):
                if deadline is not None and time.monotonic() >= deadline:
                    raise late()
                self._assert_turning()
        except BaseException:
            future.cancel()
            raise
        finally:
            _answering.remove(caller)
        try:
            return future.result()
        except Exception as error:  # noqa: BLE001 - the same exception is raised
            # Leave out the traceback through the loop: that of a verdict is about the script, others are the client's.
            raise error.with_traceback(told_of(error))  # noqa: B904 - the same exception
        finally:
            del future  # breaks a cycle: the future has the exception, and its traceback has this frame

    def _wait(self, future: concurrent.futures.Future[Any], deadline: Optional[float]) -> bool:
        """Wait for an answer, `patience` seconds at most. Return whether it has come."""
        wait = self._patience if deadline is None else max(0.0, min(self._patience, deadline - time.monotonic()))
        try:
            future.exception(wait)
        except concurrent.futures.TimeoutError:
            return future.done()
        return True

    def stop(self) -> None:
        """Stop the loop and the thread, and wait until they have ended. A second call does nothing.

        If the loop is blocked, it is given up, and what callers get then is raised. Raises `ScriptError` if the caller
        is in this thread.
        """
        thread = self._thread
        if self.ended or thread is None:
            return
        if self.is_current:
            raise ScriptError("a server can't be stopped in its own thread")
        with contextlib.suppress(RuntimeError):  # the loop is closed: the thread is just ending by itself
            self.loop.call_soon_threadsafe(self._stop_running)
        thread.join(self._patience + 2 * _PATIENCE)
        if thread.is_alive():
            self._give_up_here()
            raise self.gone()

    def give_up(self, call: BlockedCall) -> None:
        """The loop is blocked by this call: let everybody who waits get the reason, and wait for the thread no more."""
        with self._lock:
            if self.ended:
                return
            self._when_blocked(call)
            self.given_up = True
            _living.discard(self)
            _given_up.add(self)
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._stop_running)
        self._fail_owed()

    def stop_later(self) -> None:
        """Stop the loop and the thread, without waiting for that. Call this from any thread, at any time."""
        if not self.ended:
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(self._stop_running)

    # Called in the thread.

    def _run(self) -> None:
        loop = self.loop
        try:
            loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - such as a callback's SystemExit: callers get it
            self.error = error
        finally:
            try:
                self._wind_up()
            finally:
                _living.discard(self)
                _given_up.discard(self)
                loop.close()
                self._fail_owed()

    def _stop_running(self) -> None:
        if not self._winding_up:
            self.loop.stop()

    def _wind_up(self) -> None:
        """Let tasks end and transports close, as asyncio.run does, but with a time limit."""
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
        if future.done():
            coroutine.close()
            return
        task = self.loop.create_task(coroutine)

        def pass_on(task: asyncio.Task[T]) -> None:
            if not _is_waited_for(future):
                if not task.cancelled():
                    task.exception()  # mark it as retrieved: nobody waits any more
            elif task.cancelled():
                future.set_exception(self.gone())
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

    # Calls to the loop, and what they get if it can't answer.

    def _post(self, future: concurrent.futures.Future[Any], function: Callable[[], None]) -> None:
        self._owed.add(future)
        future.add_done_callback(self._owed.discard)
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            future.cancel()
            raise self.gone() from None
        if self.ended:
            self._fail_owed()

    def _fail_owed(self) -> None:
        for future in list(self._owed):
            with contextlib.suppress(concurrent.futures.InvalidStateError):
                future.set_exception(self.gone())

    def _assert_turning(self) -> None:
        """Give the loop up if it does not turn within another `patience` seconds."""
        if self.ended:
            self._fail_owed()
            return
        turned: concurrent.futures.Future[None] = concurrent.futures.Future()
        try:
            self._post(turned, lambda: turned.set_result(None) if _is_waited_for(turned) else None)
            turned.exception(self._patience)
        except concurrent.futures.TimeoutError:
            if not self.ended and not debugger_active():
                self._give_up_here()
        except (AssertionError, ScriptError):
            pass  # it has ended, and so has what it owed

    def _give_up_here(self) -> None:
        ident = None if self._thread is None else self._thread.ident
        frame = sys._current_frames().get(ident) if ident is not None else None
        if frame is not None:
            self.give_up(BlockedCall(frame, self._patience, 1))


def _is_waited_for(future: concurrent.futures.Future[Any]) -> bool:
    """Return whether somebody waits for the future, and has no answer yet."""
    return not future.done() and future.set_running_or_notify_cancel()


# All that run, to be stopped at exit; those that were given up; and those of the parent process, which must not be
# collected in a forked child.
_living: set[LoopThread] = set()
_given_up: set[LoopThread] = set()
_inherited: list[LoopThread] = []


# The threads that wait for an answer, once for each wait.
_answering: list[threading.Thread] = []


def waiting_threads() -> set[threading.Thread]:
    """Return the threads that wait for an answer, and those that run loops: they do nothing for a client."""
    return {*_answering, *(each._thread for each in _living if each._thread is not None)}


def _stop_all() -> None:
    try:
        tell_of_all()
    finally:  # the warning may be an error
        for thread in list(_living):
            try:
                thread.stop()
            except Exception as error:  # noqa: BLE001 - the others must be stopped
                if thread.given_up:
                    sys.stderr.write(str(error).partition("\n")[0] + "\n")


def _let_go_in_child() -> None:
    _inherited.extend(_living | _given_up)
    _living.clear()
    _given_up.clear()
    for thread in _inherited:
        if not thread.forked:
            thread.forked = True
            with contextlib.suppress(Exception):
                thread._close_in_child()
            for name in ("_ssock", "_csock"):  # the socket pair by which asyncio wakes a loop
                with contextlib.suppress(Exception):
                    getattr(thread.loop, name).close()
            with contextlib.suppress(Exception):
                thread._selector.close()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
