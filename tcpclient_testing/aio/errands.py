"""Errands: what the engine has to wait for outside of itself, on behalf of single steps.

The coroutine that computes a reply, and the event of asyncio or threading that holds a step. Each ends by telling the
conversation.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Await, RunCoroutine
from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.events import Computed, Event, Released
from tcpclient_testing.engine.steps import Step

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["Errands"]

__unittest = True

# A threading.Event can't be awaited; a thread for each would cost more than a look at it now and then (seconds).
_LOOK = 0.002


class Errands:
    """The tasks of one server's errands."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._tasks: set[asyncio.Task[Any]] = set()

    def cancel(self) -> None:
        """End them all; nobody is told."""
        for task in self._tasks:
            task.cancel()

    def compute(self, command: RunCoroutine) -> None:
        """Run the coroutine that computes what a step sends."""
        self._start(self._compute(command)).add_done_callback(lambda _: command.drop())

    def hold(self, command: Await) -> None:
        """Wait for the event that a step is held for."""
        self._start(self._hold(command))

    def _start(self, coroutine: Any) -> asyncio.Task[Any]:
        task = self._runtime.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def _tell(self, conversation: Optional[Conversation], event: Event) -> None:
        assert conversation is not None
        conversation.receive(event)
        self._runtime.perform()

    async def _compute(self, command: RunCoroutine) -> None:
        value: Any = None
        error: Optional[BaseException] = None
        try:
            value = await command.coroutine
        except (Exception, asyncio.CancelledError) as exception:  # the test's: whatever it raises is in the report
            if isinstance(exception, asyncio.CancelledError) and self._runtime.session.over:
                raise  # it was `cancel` that cancelled it; else something that it awaited was cancelled
            error = exception
        self._tell(command.conversation, Computed(self._runtime.loop.time(), command.step, value, error))

    async def _hold(self, command: Await) -> None:
        event = command.event
        if isinstance(event, Step):  # a step of another server, which may live in another thread
            await self._until(lambda: event.satisfied)
        elif inspect.iscoroutinefunction(event.wait) and not self._runtime.threaded:
            await event.wait()
        else:
            await self._until(event.is_set)
        self._tell(command.conversation, Released(self._runtime.loop.time(), command.step))

    async def _until(self, happened: Callable[[], bool]) -> None:
        """Wait for what wakes no loop, since another thread may bring it about."""
        loop = self._runtime.loop
        if hasattr(loop, "wait_until"):  # on virtual time a timer every now and then would be all that happens
            await loop.wait_until(happened)
        while not happened():  # noqa: ASYNC110 - there is nothing to await
            await asyncio.sleep(_LOOK)
