"""Tasks for steps that wait: one runs the coroutine that computes a reply, or waits for the event that holds a step.

The event may be asyncio's or threading's, or a step of another server. Each task ends by reporting the
outcome to the conversation.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from contextvars import Context
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Await, Command, RunCoroutine
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.steps.base import Step

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext

__all__ = ["StepTasks"]

__unittest = True

# Seconds between two polls of a threading.Event, which can't be awaited. A thread for each would cost more.
_LOOK = 0.002

# How long a reply to a client that has gone is computed at most, without a time-out of the server's, in seconds.
_LONGEST = 5.0


class StepTasks:
    """The tasks of one server that compute replies and wait for events."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._tasks: set[asyncio.Task[Any]] = set()
        self._replies: dict[asyncio.Task[Any], Conversation] = {}  # those that compute what belongs to no step

    def cancel(self) -> None:
        """Cancel all tasks, without passing anything to the conversations."""
        for task in self._tasks:
            task.cancel()

    def compute(self, command: RunCoroutine) -> None:
        """Run the coroutine that computes what a step sends, then report `computed` to the conversation."""
        context = getattr(command.target.source, "context", None)  # that of the callable, if it is one of the test's
        task = self._start(self._compute(command), context)
        task.add_done_callback(lambda _: command.drop())
        if not isinstance(command.target, Step):
            self._replies[task] = self._conversation(command)
            task.add_done_callback(self._replies.pop)

    def replies(self) -> list[asyncio.Task[Any]]:
        """Return the tasks that compute a reply, of `allow()`, to a client that has gone. They may still raise."""
        return [task for task, conversation in self._replies.items()
                if conversation.inbox.ended or conversation.inbox.closed]

    async def finish_replies(self) -> None:
        """Wait for those tasks, but not longer than for a step: the reply that they compute is for nobody."""
        replies, timeout = self.replies(), self._context.environment.timeout
        if replies:
            await asyncio.wait(replies, timeout=_LONGEST if timeout is None else timeout)

    def hold(self, command: Await) -> None:
        """Wait for the event that holds a step, then report `released` to the conversation."""
        self._start(self._hold(command))

    def _start(self, coroutine: Any, context: Optional[Context] = None) -> asyncio.Task[Any]:
        create = self._context.loop.create_task
        task: asyncio.Task[Any] = create(coroutine) if context is None else context.run(create, coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _conversation(self, command: Command) -> Conversation:
        assert command.number is not None
        return self._context.session.connections.of(command.number)

    async def _compute(self, command: RunCoroutine) -> None:
        value: Any = None
        error: Optional[BaseException] = None
        try:
            value = await command.coroutine
        except (Exception, asyncio.CancelledError) as exception:  # the test's code: the report shows what it raises
            if isinstance(exception, asyncio.CancelledError) and self._context.environment.over:
                raise  # cancelled by `cancel()`; else something that it awaited was cancelled
            error = exception
        self._conversation(command).computed(self._context.loop.time(), command.target, value, error)
        self._context.perform()

    async def _hold(self, command: Await) -> None:
        event = command.event
        if isinstance(event, Step):  # a step of another server, which may run in another thread
            await self._until(lambda: event.satisfied)
        elif inspect.iscoroutinefunction(event.wait) and not self._context.threaded:
            await event.wait()
        else:
            await self._until(event.is_set)
        self._conversation(command).released(self._context.loop.time(), command.step)
        self._context.perform()

    async def _until(self, happened: Callable[[], bool]) -> None:
        """Poll until `happened()` is true. Another thread may make it true, which doesn't wake the loop."""
        loop = self._context.loop
        if hasattr(loop, "wait_until"):  # on virtual time, polling by timers would make time jump from poll to poll
            await loop.wait_until(happened)
        while not happened():  # noqa: ASYNC110 - there is nothing to await instead
            await asyncio.sleep(_LOOK)
