"""Runs an event loop in its own daemon thread, and lets other threads call functions and coroutines there.

    new --start--> running --stop, or the thread's own end--> ended

- Every caller gets an answer: the result, a time-out, or the reason why the thread has ended. When the thread ends,
  calls that are still unanswered get that reason.
- A loop that is blocked by what it runs (for example, by a callable of the test that waits) can't answer. The watchdog
  notices that, or else its callers, as it does not turn. Then it is given up: callers get an error that names the
  blocked line, and nobody waits for the thread any more. If it goes on some time, it ends by itself.
- At the interpreter's exit, threads that still run are stopped. A forked child has no such thread, only copies of its
  descriptors. They are closed there without touching the loop, whose locks and sockets belong to the parent.
- Ctrl-C raises `KeyboardInterrupt` between any two instructions of the main thread. So what starts and ends a thread is
  done in the thread itself, or in single instructions, and whatever is called after Ctrl-C can be called again.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import selectors
import sys
import threading
import time
import weakref
from collections.abc import Coroutine
from typing import Any, Callable, Optional, TypeVar, cast

from tcpclient_testing.aio.native import originals
from tcpclient_testing.aio.native.threads import Beginning, made_thread
from tcpclient_testing.aio.process.blocked_call import BlockedCall
from tcpclient_testing.aio.process.debugger import debugger_active
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.tracebacks import told_of
from tcpclient_testing.server.forgotten import tell_of_all

from .reply import Reply

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
                      and (each.loop is None or not asyncio.all_tasks(each.loop)))]


class _ServerLoop(asyncio.SelectorEventLoop):
    """An event loop that is not there at all if it can't be made: no `__del__` complains then that it is not closed."""

    _closed: bool

    def __init__(self, selector: selectors.BaseSelector) -> None:
        try:
            super().__init__(selector)
        except BaseException:
            self._closed = True
            selector.close()
            raise

    def _make_self_pipe(self) -> None:
        # The base class would make sockets of the class that gevent or eventlet has put in the place of Python's. They
        # belong to the thread that makes them, and other threads wake the loop by them.
        inner: Any = self  # the names are those of asyncio's base class from Python 3.9 on
        inner._ssock, inner._csock = originals.socketpair()
        for end in inner._ssock, inner._csock:
            end.setblocking(False)
        inner._internal_fds += 1
        inner._add_reader(inner._ssock.fileno(), inner._read_from_self)


class LoopThread:
    """An event loop and its thread.

    - `patience` is the number of seconds after which a caller asks whether the loop turns. If it does not for as long
      again, it counts as blocked.
    - `ending` is called in the thread when it ends; it closes what the loop has opened.
    - `forked` is called in a forked child; it closes the same, but only as raw descriptors.
    - `blocked` is called in another thread when the loop is given up, with the call that blocks it. It notes why, and
      returns what releases those who wait.
    - `why` makes the exception that callers get then.
    """

    def __init__(self, patience: float, ending: Callable[[], None], forked: Callable[[], None],
                 blocked: Callable[[BlockedCall], Callable[[], None]], why: Callable[[], Exception]) -> None:
        self.loop: asyncio.AbstractEventLoop = cast(asyncio.AbstractEventLoop, None)  # made in the thread
        self.error: Optional[BaseException] = None
        self.forked = False
        self.given_up = False
        self._patience = patience
        self._close = ending
        self._close_in_child = forked
        self._when_blocked = blocked
        self._why = why
        self._lock = originals.allocate_lock()  # held while it is given up
        self._polling: Optional[selectors.BaseSelector] = None
        self._stopping = False
        self._winding_up = False
        self._hangs = False  # whether `stop` has waited in vain
        self._owed: set[Reply[Any]] = set()
        self._beginning = Beginning()
        self._thread: Optional[threading.Thread] = None
        self._gone = False
        self._owner: Optional[weakref.ref[object]] = None
        self._over: Reply[None] = Reply()

    def start(self, name: str, opening: Callable[[], None]) -> None:
        """Make a loop in a new thread, call `opening` there, and run the loop.

        Raises what `opening` raises, `RuntimeError` if no thread can be started, and `OSError` if no loop can be made.
        Then, or after a Ctrl-C, the thread has ended.
        """
        opened: Reply[None] = Reply(self._owed.discard)
        self._owed.add(opened)
        try:
            self._beginning.of(self._begin, name, opening, opened)
            self.answer(opened)
            self._beginning.wait()
        except BaseException:
            self.abandon()
            raise

    @property
    def thread(self) -> Optional[threading.Thread]:
        """The thread, once it was started."""
        return self._thread

    @property
    def is_current(self) -> bool:
        """Whether the caller is in this thread."""
        return self._thread is not None and self._thread.ident == originals.get_ident()

    @property
    def ended(self) -> bool:
        """Whether the thread has ended, or was never started in this process."""
        return self.forked or self.given_up or self._gone or not self._beginning.made

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
        reply: Reply[T] = Reply(self._owed.discard)

        def answer() -> None:
            if reply.awaited:
                try:
                    reply.give(function(*args))
                except BaseException as error:  # noqa: BLE001 - every exception goes to the caller
                    reply.fail(error)
        self._post(reply, answer)
        return self.answer(reply)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Reply[T]:
        """Start a coroutine in the thread. Cancelling the returned reply cancels the coroutine."""
        reply: Reply[T] = Reply(self._owed.discard)
        begun: list[bool] = []

        def begin() -> None:
            if not begun:
                begun.append(True)
                self._run_coroutine(coroutine, reply)
        try:
            self._post(reply, begin)
        except Exception:
            coroutine.close()
            raise
        except BaseException:  # Ctrl-C: nobody knows whether it was posted
            reply.cancel()
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(begin)
            raise
        return reply

    def answer(self, reply: Reply[T], timeout: Optional[float] = None,
               late: Callable[[], TimeoutError] = TimeoutError) -> T:
        """Wait for a reply of `submit`. Return its result, or raise its exception.

        After `timeout` seconds, cancel the reply and raise the `TimeoutError` that `late` makes. If the loop is
        blocked, it is given up. Raises `ScriptError` if the caller is in this thread.
        """
        if self.is_current:
            raise ScriptError("this call would block the server's own thread: await it instead")
        deadline = None if timeout is None else time.monotonic() + timeout
        caller = threading.current_thread()
        try:
            _answering.append(caller)
            while not reply.wait(self._patience if deadline is None else
                                 min(self._patience, deadline - time.monotonic())):
                if deadline is not None and time.monotonic() >= deadline:
                    raise late()
                self._assert_turning()
        except BaseException:
            reply.cancel()
            raise
        finally:
            with contextlib.suppress(ValueError):  # Ctrl-C came first
                _answering.remove(caller)
        try:
            return reply.result()
        except Exception as error:  # noqa: BLE001 - the same exception is raised
            # Leave out the traceback through the loop: that of a verdict is about the script, others are the client's.
            raise error.with_traceback(told_of(error))  # noqa: B904 - the same exception
        finally:
            del reply  # breaks a cycle: the reply has the exception, and its traceback has this frame

    def stop(self) -> None:
        """Stop the loop and the thread, and wait until they have ended. A second call does nothing.

        If the loop is blocked, it is given up, and what callers get then is raised. Raises `ScriptError` if the caller
        is in this thread.
        """
        if self.forked or self.given_up or not self._beginning.made:
            return
        if self.is_current:
            if self._gone:
                return
            raise ScriptError("a server can't be stopped in its own thread")
        self.let_go()
        if not self._over.wait(0.0 if self._hangs else self._patience + 2 * _PATIENCE):
            self._hangs = True
            self._give_up_here()
            raise self.gone()
        thread = self._thread
        if thread is not None:
            thread.join(_PATIENCE)

    def belongs_to(self, owner: object) -> None:
        """Let the thread go when `owner` is garbage, since Ctrl-C can strike before the end of its block has begun."""
        self._owner = weakref.ref(owner, lambda _: self.let_go())

    def let_go(self) -> None:
        """Let the thread stop the loop and end, without waiting for that. Call this from any thread, at any time."""
        self._stopping = True  # the thread sees this before it runs its loop, or gets the call below
        if self.loop is not None and not self._gone and not self.forked:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the thread is just ending by itself
                self.loop.call_soon_threadsafe(self._stop_running)

    def abandon(self) -> None:
        """Stop as `stop` does, while an exception is on its way that must not be hidden."""
        with contextlib.suppress(AssertionError, ScriptError):
            self.stop()

    def give_up(self, call: BlockedCall) -> None:
        """The loop is blocked by this call: let everybody who waits get the reason, and wait for the thread no more."""
        with self._lock:
            if self.ended:
                return
            release = self._when_blocked(call)
            self.given_up = True  # before anybody is released: whoever asks the thread then must know
            _living.discard(self)
            _given_up.add(self)
            release()
        self.let_go()
        self._fail_owed()

    # Called in the thread.

    def _begin(self, name: str, opening: Callable[[], None], opened: Reply[None]) -> None:
        """Start the thread. This is called in a thread that does nothing else."""
        try:
            self._thread = made_thread(self._run, (opening, opened), name)
            _living.add(self)
            self._thread.start()
        except BaseException as error:  # noqa: BLE001 - the caller of `start` gets it
            self._thread = None
            self._end(opened, error)

    def _run(self, opening: Callable[[], None], opened: Reply[None]) -> None:
        failure: Optional[BaseException] = None
        try:
            self._polling = originals.Selector()
            # Don't ask the event-loop policy: the Proactor loop of Windows can't watch listening sockets.
            self.loop = _ServerLoop(self._polling)
            if not self._stopping:
                self.loop.call_soon(self._open, opening, opened)
                self._run_loop()
        except BaseException as error:  # noqa: BLE001 - no loop: the caller of `start` gets it
            failure = error
        finally:
            try:
                self._wind_up()
            finally:
                self._end(opened, failure or self.gone())
                del failure  # breaks a cycle: its traceback has this frame

    def _run_loop(self) -> None:
        try:
            self.loop.run_forever()
        except BaseException as error:  # noqa: BLE001 - such as a callback's SystemExit: callers get it
            self.error = error

    def _open(self, opening: Callable[[], None], opened: Reply[None]) -> None:
        try:
            opening()
        except BaseException as error:  # noqa: BLE001 - the caller of `start` gets it
            opened.fail(error)
            self.loop.stop()
        else:
            opened.give(None)

    def _end(self, opened: Reply[None], failure: BaseException) -> None:
        """The thread ends. If the server was not opened, the caller of `start` gets `failure`."""
        _living.discard(self)
        _given_up.discard(self)
        self._gone = True
        self._owner = None
        if self.loop is not None:
            self.loop.close()
        opened.fail(failure)
        self._fail_owed()
        self._over.give(None)

    def _stop_running(self) -> None:
        if not self._winding_up:
            self.loop.stop()

    def _wind_up(self) -> None:
        """Let tasks end and transports close, as asyncio.run does, but with a time limit."""
        self._winding_up = True
        loop = self.loop
        self._close()
        if loop is None:
            return
        self._end_tasks(loop)
        for _ in range(_TURNS):
            loop.run_until_complete(asyncio.sleep(0))
        loop.run_until_complete(loop.shutdown_asyncgens())
        self._end_tasks(loop)  # what was asked in the last turns may not have begun: whoever asked is told

    @staticmethod
    def _end_tasks(loop: asyncio.AbstractEventLoop) -> None:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks, timeout=_PATIENCE))

    def _run_coroutine(self, coroutine: Coroutine[Any, Any, T], reply: Reply[T]) -> None:
        if not reply.awaited:
            coroutine.close()
            return
        task = self.loop.create_task(coroutine)

        def pass_on(task: asyncio.Task[T]) -> None:
            if task.cancelled():
                reply.fail(self.gone())
                return
            error = task.exception()
            if error is None:
                reply.give(task.result())
            else:
                reply.fail(error)
        task.add_done_callback(pass_on)
        reply.when_cancelled(lambda: self._cancel(task))

    def _cancel(self, task: asyncio.Task[Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the task has ended
            self.loop.call_soon_threadsafe(task.cancel)

    # Calls to the loop, and what they get if it can't answer.

    def _post(self, reply: Reply[Any], function: Callable[[], None]) -> None:
        self._owed.add(reply)
        try:
            self.loop.call_soon_threadsafe(function)
        except RuntimeError:
            self._owed.discard(reply)
            raise self.gone() from None
        if self.ended:
            self._fail_owed()

    def _fail_owed(self) -> None:
        for reply in list(self._owed):
            reply.fail(self.gone())

    def _assert_turning(self) -> None:
        """Give the loop up if it does not turn within another `patience` seconds."""
        if self.ended:
            self._fail_owed()
            return
        if self.loop is None:
            return  # it is not made yet
        turned: Reply[None] = Reply(self._owed.discard)
        with contextlib.suppress(AssertionError, ScriptError):  # it has ended, and so has what it owed
            self._post(turned, lambda: turned.give(None))
            if not turned.wait(self._patience) and not self.ended and not debugger_active():
                self._give_up_here()
        self._owed.discard(turned)

    def _give_up_here(self) -> None:
        ident = None if self._thread is None else self._thread.ident
        frame = sys._current_frames().get(ident) if ident is not None else None
        if frame is not None:
            self.give_up(BlockedCall(frame, self._patience, 1))


# All that run, to be stopped at exit; those that were given up; and those of the parent process, which must not be
# collected in a forked child.
_living: set[LoopThread] = set()
_given_up: set[LoopThread] = set()
_inherited: list[LoopThread] = []


# The threads that wait for an answer, once for each wait.
_answering: list[threading.Thread] = []


def waiting_threads() -> set[threading.Thread]:
    """Return the threads that wait for an answer, and those that run loops: they do nothing for a client."""
    return {*_answering, *server_threads()}


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
                if thread._polling is not None:
                    thread._polling.close()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
