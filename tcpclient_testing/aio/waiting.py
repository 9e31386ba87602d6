"""Lets tasks wait for steps: each wait ends when its step is satisfied, or with an exception when none will be."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.steps.base import Step

if TYPE_CHECKING:
    from tcpclient_testing.aio.context.server import ServerContext

__all__ = ["JoinWait", "Waiters", "awaited_too_early"]

__unittest = True


class Waiters:
    """All waits for steps of one server.

    `wake` lets the engine say when a step is satisfied. `failure` makes the exception for waits that end without their
    step.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: Callable[[Step[Any]], None],
                 failure: Callable[[], BaseException]) -> None:
        self._loop = loop
        self._wake = wake
        self._failure = failure
        self._futures: dict[Step[Any], list[asyncio.Future[None]]] = {}
        self._tasks: dict[asyncio.Task[Any], int] = {}

    def wait(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait for `step`, which is not satisfied yet. Raise what `failure` makes if it never will be."""
        future = self._loop.create_future()
        if step not in self._futures:
            self._wake(step)
        self._futures.setdefault(step, []).append(future)
        task = asyncio.current_task()
        if task is not None:
            self._tasks[task] = self._tasks.get(task, 0) + 1
        try:
            yield from future
        finally:
            if task is not None:
                self._tasks[task] -= 1
                if not self._tasks[task]:
                    del self._tasks[task]

    def includes(self, task: asyncio.Task[Any]) -> bool:
        """Whether `task` waits for a step of this server."""
        return task in self._tasks

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
                    future.set_exception(self._failure())


class JoinWait:
    """An awaitable that waits for a step on behalf of a join, without marking the step as `asked` for by the user."""

    __slots__ = ("_step",)

    def __init__(self, step: Step[Any]) -> None:
        self._step = step

    def __await__(self) -> Generator[Any, None, None]:
        # The host raises if the script failed after the wait before this one.
        if not self._step.satisfied:
            yield from self._step.cursor.environment.host.wait_for(self._step)


def awaited_too_early(context: ServerContext, waiters: Waiters) -> Optional[str]:
    """The advice, if no client has connected in time and nothing is running that could be the client; else None.

    Nothing is running if

    - each task of the loop waits for a step, and
    - no other thread and no child process lives.

    Call this when the verdict is made, and the body of the test has not ended: the waiting tasks must not have received
    the verdict yet.
    """
    failure = context.environment.failure
    if failure is None or not failure.overdue or context.threaded:
        return None
    if failure.number is None or failure.step is None or not failure.step.connects \
            or context.session.conversation(failure.number).inbox.accepted:
        return None
    tasks = asyncio.all_tasks(context.loop)
    if not tasks or not all(waiters.includes(task) for task in tasks):
        return None
    from tcpclient_testing.aio.process.quiescence import child_lives, living_thread
    if living_thread() is not None or child_lives():
        return None
    return ("the test waits for a client, but nothing is running that could connect: start the client before awaiting "
            "a step (asyncio.create_task), or await the step after that")
