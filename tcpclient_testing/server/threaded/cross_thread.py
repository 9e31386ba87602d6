"""Runs a coroutine in the server's thread, and lets the caller wait for its end. How depends on where the caller runs:

- If no event loop is running, the caller blocks.
- In an event loop that is not the server's, the caller gets something to await, so that its loop keeps running. The
  coroutine begins at once, whether or not the caller awaits it.
- In the server's own thread, waiting for that thread would be a deadlock. The caller is a handler: it gets the
  coroutine itself to await.

If a wait is over while the script goes on, the caller gets a `TimeoutError`. Its text has the state and the transcript.
"""

from __future__ import annotations

import asyncio
import contextlib
import warnings
from asyncio import events
from collections.abc import Awaitable, Coroutine, Generator
from typing import Any, Callable, Optional

from tcpclient_testing.aio.causes.lookout import Lookout
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.harness.interruption import Body
from tcpclient_testing.report.report import conversation_text, place_of
from tcpclient_testing.transcript.entries import Transcript

from .loop_thread import LoopThread
from .reply import Reply

__all__ = ["Awaiting", "DONE", "Waiting", "answer", "Late", "late", "place_of"]

__unittest = True


class Awaiting:
    """The tasks of other loops that await an answer. The answer reports a failure, so they need no interruption.

    While they wait, a `Lookout` looks in their loop whether the client has failed by itself. `lookout` makes it.
    """

    def __init__(self, lookout: Optional[Callable[[asyncio.AbstractEventLoop], Lookout]] = None) -> None:
        self._make_lookout = lookout
        self._lookouts: dict[asyncio.AbstractEventLoop, Lookout] = {}
        self._tasks: dict[asyncio.Task[Any], int] = {}

    def _begin(self) -> None:
        loop = asyncio.get_running_loop()
        if self._make_lookout is not None:
            if loop not in self._lookouts:
                lookout = self._lookouts[loop] = self._make_lookout(loop)
                lookout.start()
            self._lookouts[loop].begin()

    def close(self) -> None:
        """The server is closed: look no more."""
        self._make_lookout = None
        for loop, lookout in list(self._lookouts.items()):
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(lookout.stop)
        self._lookouts.clear()

    def includes(self, task: asyncio.Task[Any]) -> bool:
        """Whether `task` waits here. Call this in the thread of the task."""
        return task in self._tasks

    def has_body(self, body: Body) -> bool:
        """Whether `body` waits here."""
        return any(body.waits_by(task) for task in list(self._tasks))

    def tasks(self) -> list[asyncio.Task[Any]]:
        """Return the tasks of the running loop that wait here."""
        loop = asyncio.get_running_loop()
        return [task for task in list(self._tasks) if task.get_loop() is loop]

    def answer(self, future: Awaitable[Any]) -> Generator[Any, None, Any]:
        """Wait for `future` in the current task."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = self._tasks.get(task, 0) + 1
        self._begin()
        try:
            return (yield from future.__await__())
        finally:
            self._tasks[task] -= 1
            if not self._tasks[task]:
                del self._tasks[task]


class Waiting:
    """An awaitable for `future`, by which the current task counts among those that wait."""

    def __init__(self, awaiting: Awaiting, future: Awaitable[Any]) -> None:
        self._awaiting = awaiting
        self._future = future

    def __await__(self) -> Generator[Any, None, Any]:
        return self._awaiting.answer(self._future)


def answer(thread: LoopThread, coroutine: Coroutine[Any, Any, None], timeout: Optional[float],
           late: Callable[[], TimeoutError], awaiting: Optional[Awaiting] = None) -> Awaitable[None]:
    """Run a coroutine in `thread`. Wait until it has ended, or return something to await for that.

    After `timeout` seconds, the `TimeoutError` that `late` makes is raised. `awaiting` keeps the tasks that wait.
    """
    loop = events._get_running_loop()
    if loop is thread.loop:
        return coroutine  # the caller is a handler
    reply = thread.submit(coroutine)
    if loop is not None:
        return _Answer(reply, timeout, late, awaiting or Awaiting())
    thread.answer(reply, timeout, late)
    return DONE


class _Answer:
    """What `join` returns in a running event loop: await it there. The coroutine has already been submitted.

    If nobody awaits it, nobody has waited for the script: warn, as Python does for coroutines.
    """

    _awaited = False

    def __init__(self, reply: Reply[None], timeout: Optional[float], late: Callable[[], TimeoutError],
                 awaiting: Awaiting) -> None:
        self._reply = reply
        self._awaiting = awaiting
        self._timeout = timeout
        self._late = late

    def __await__(self) -> Generator[Any, None, None]:
        self._awaited = True
        return self._awaiting.answer(self._wait())

    def __del__(self) -> None:
        if not self._awaited:
            warnings.warn("join() was never awaited: in a running event loop it does not block, and waits for nothing; "
                          "await what it returns", RuntimeWarning, stacklevel=2)

    async def _wait(self) -> None:
        future = self._reply.future()
        try:
            done, _ = await asyncio.wait((future,), timeout=self._timeout)
        except asyncio.CancelledError:
            future.cancel()  # nobody waits for it any more
            raise
        if not done:
            future.cancel()
            raise self._late()
        future.result()


class _Done:
    """An answer that has come already. Awaiting it returns at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


DONE: Awaitable[None] = _Done()


class Late(TimeoutError):
    """A `TimeoutError` whose text has the conversation already, so that nothing needs to attach it."""

    has_conversation = True

    def __reduce__(self) -> Any:
        return (TimeoutError, self.args)


Late.__name__ = Late.__qualname__ = "TimeoutError"

Late.__module__ = "builtins"


def late(what: str, seconds: float, step: Optional[Step[Any]], session: Session, transcript: Transcript) -> Late:
    """Make a `TimeoutError` for a wait that has lasted `seconds`.

    Its text has `what` is missing ("the script is not complete"), the `step` that the script waits for, the state of
    the script, and the transcript.
    """
    place = "" if step is None else f"; it waits for {place_of(step)}"
    return Late("\n".join([f"{what} after {seconds:g} s{place}", "", *conversation_text(session, transcript)]))
