"""The tasks that run a server's handlers: coroutine functions of the test, each call of which serves one connection.

    StartHandler -> a task runs the handler -> it returns: disconnect | it raises: the script has failed

A handler is parked while it waits in `lines()` or `frames()` and its client is connected. The end of the test doesn't
wait for parked handlers.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.commands import StartHandler
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.handlers import HandlerRaised, origin_of_handler
from tcpclient_testing.engine.steps.sending import Disconnect
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING
from tcpclient_testing.engine.wording import seconds

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext

__all__ = ["Handlers"]

__unittest = True


class Handlers:
    """The tasks that run the handlers of one server. `make_handle` makes the handle that a handler is called with."""

    def __init__(self, context: ServerContext, make_handle: Callable[[Conversation], Any]) -> None:
        self._context = context
        self._make_handle = make_handle
        self._tasks: dict[asyncio.Task[None], Conversation] = {}

    def start(self, command: StartHandler) -> None:
        """Run a handler in a new task."""
        assert command.number is not None
        conversation = self._context.session.connections.of(command.number)
        handler = command.handler
        task = handler.context.run(self._context.loop.create_task, self._run(handler.function, conversation))
        self._tasks[task] = conversation
        task.add_done_callback(self._tasks.pop)

    def includes(self, task: Optional[asyncio.Task[Any]]) -> bool:
        """Whether `task` runs one of these handlers."""
        return task in self._tasks

    def cancel(self) -> None:
        """Cancel all handlers, because the server is closed."""
        for task in self._tasks:
            task.cancel()

    async def cancelled(self) -> None:
        """Wait until the cancelled tasks have ended, but 0.1 s at most: a handler may ignore its cancellation."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        if tasks:
            await asyncio.wait(tasks, timeout=0.1)

    async def _run(self, handler: Any, conversation: Conversation) -> None:
        context, session = self._context, self._context.session
        try:
            result = handler(self._make_handle(conversation))
            if not hasattr(result, "__await__"):
                raise TypeError(f"a handler is a coroutine function (async def); this one returned {result!r}")
            await result
        except (Exception, asyncio.CancelledError) as error:
            if isinstance(error, asyncio.CancelledError) and session.environment.over:
                raise
            if session.environment.over:
                return  # a mere consequence of the verdict, or of leaving the server
            context.fail(conversation, conversation.script.handed_over, HandlerRaised(handler, error))
            return
        if session.environment.over or conversation.script.steps[-1].ends_connection:
            return
        inbox = conversation.inbox
        if not (inbox.reset or inbox.closed or inbox.draining):
            session.environment.set_time(context.loop.time())
            conversation.add(Disconnect(origin_of_handler(handler), DEFAULT_TIMING))
            context.perform()

    def busy(self, *, allow_open: bool = False) -> list[asyncio.Task[None]]:
        """The tasks that still have work to do. With `allow_open`, only those whose connection has ended."""
        return [task for task, conversation in self._tasks.items()
                if conversation.inbox.ended or conversation.inbox.closed or not (allow_open or _parked(conversation))]

    async def finish(self, *, allow_open: bool) -> None:
        """Wait for the busy handlers. If one of them is still busy after the time-out, the script fails."""
        context, session, loop = self._context, self._context.session, self._context.loop
        began = loop.time()
        while not session.environment.over:
            busy = self.busy(allow_open=allow_open)
            if not busy:
                return
            waited = loop.time() - began
            timeout = session.environment.timeout
            if timeout is not None and waited >= timeout:
                context.fail(self._tasks[busy[0]], None, Mismatch(
                    f"the handler has not returned {seconds(waited)} after the rest was done"), overdue=True)
                return
            await asyncio.wait(busy, timeout=0.05, return_when=asyncio.FIRST_COMPLETED)


def _parked(conversation: Conversation) -> bool:
    """Whether the handler waits for its client's next message, which may never come."""
    due = conversation.script.due
    return due is not None and due.idle and not conversation.inbox.pending
