"""Waits for steps of one server, in its loop.

- The step is satisfied: the wait is over.
- The script fails, or the server is left: the wait ends with the verdict.
- The client has failed by itself: the wait of the body ends with the client's exception.

No future gets these exceptions: the wait ends, and raises them itself. A task that is written in Python, as on PyPy,
would handle what a future has given it for as long as its coroutine runs on, and whatever is raised then would show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.steps.base import Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

__all__ = ["JoinWait", "Waiters"]

__unittest = True

#: Returns what a task that has waited is to raise instead of the verdict, or None.
Finding = Callable[[Optional["asyncio.Task[Any]"]], "Awaitable[Optional[BaseException]]"]


async def _no_cause(_: object) -> None:
    """Nothing is known that led to the failure."""


class Waiters:
    """All waits for steps of one server.

    - `failure` makes the exception for waits that end without their step.
    - `begin` is called when a wait begins.
    - `cause` finds the client's exception that led to the failure, if a task that waited is to raise that.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, failure: Callable[[], BaseException],
                 begin: Callable[[], None] = lambda: None, cause: Finding = _no_cause) -> None:
        self._loop = loop
        self._failure = failure
        self._begin = begin
        self._cause = cause
        self._futures: dict[Step[Any], list[asyncio.Future[None]]] = {}
        self._tasks: dict[asyncio.Task[Any], list[asyncio.Future[None]]] = {}
        # What ended waits are to raise: the verdict, or the client's exception.
        self._raising: dict[asyncio.Future[None], tuple[Optional[BaseException], Optional[BaseException]]] = {}

    def wait(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait for `step`, which is not satisfied yet. Raise what `failure` makes if it never will be."""
        future = self._loop.create_future()
        task = asyncio.current_task()
        try:
            if task is not None:
                self._tasks.setdefault(task, []).append(future)
            if step not in self._futures:
                step.cursor.wake(step)
            self._futures.setdefault(step, []).append(future)
            self._begin()
            try:
                yield from future
            except BaseException:
                self._raising.pop(future, None)
                raise
            if not self._raising:
                return
            verdict, cause = self._raising.pop(future, (None, None))
            if isinstance(verdict, AssertionError):
                cause = yield from self._cause(task).__await__()
        finally:
            future.cancel()  # after a Ctrl-C nobody waits for it
            if task is not None and future in self._tasks.get(task, ()):
                self._tasks[task].remove(future)
                if not self._tasks[task]:
                    del self._tasks[task]
        try:
            if cause is not None:
                from tcpclient_testing.harness.exceptions import raise_alone
                raise_alone(cause)
            if verdict is not None:
                raise verdict
        finally:
            del verdict, cause  # breaks a cycle: their tracebacks have this frame

    def includes(self, task: asyncio.Task[Any]) -> bool:
        """Whether `task` waits for a step of this server."""
        return task in self._tasks

    def tasks(self) -> Collection[asyncio.Task[Any]]:
        """Return the tasks that wait for steps of this server, in the order in which they began."""
        return self._tasks.keys()

    def raise_in(self, task: asyncio.Task[Any], error: BaseException) -> None:
        """End the wait of `task` with this error, which is the client's."""
        for future in self._tasks[task]:
            if not future.done():
                self._raising[future] = None, error
                future.set_result(None)

    def wake(self, step: Step[Any]) -> None:
        """End the waits for `step`, which is satisfied."""
        for future in self._futures.pop(step, ()):
            if not future.done():
                future.set_result(None)

    def give_up(self) -> None:
        """End all waits with an exception: no step will be satisfied any more."""
        futures, self._futures = self._futures, {}
        for waiting in futures.values():
            for future in waiting:
                if not future.done():
                    self._raising[future] = self._failure(), None
                    future.set_result(None)


class JoinWait:
    """An awaitable that waits for a step on behalf of a join, without marking the step as `asked` for by the user."""

    __slots__ = ("_step",)

    def __init__(self, step: Step[Any]) -> None:
        self._step = step

    def __await__(self) -> Generator[Any, None, None]:
        # The host raises if the script failed after the wait before this one.
        if not self._step.satisfied:
            yield from self._step.cursor.environment.host.wait_for(self._step)
