"""Ends a pointless wait: the test is over, a client is missing, and nothing is left that could connect."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Collection
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.process.life_watch import LifeWatch
from tcpclient_testing.engine.steps.lifecycle import nobody_left
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["AbsentClient"]

__unittest = True


class AbsentClient:
    """Looks for anything that could be the missing client of one server, while the running task leaves the server.

    `idle` returns threads that certainly can't be the client. It looks from `start` on, until `stop` is called.
    """

    def __init__(self, runtime: Runtime, idle: Callable[[], Collection[threading.Thread]]) -> None:
        self._runtime = runtime
        self._leaver = asyncio.current_task()
        watch = LifeWatch(runtime.context.loop, self._fail, wanted=lambda: self._missing() is not None, idle=idle,
                          ignored=self._is_ignored)
        self.start, self.stop = watch.start, watch.stop

    def _fail(self) -> None:
        runtime, missing = self._runtime, self._missing()
        if missing is None or runtime.context.environment.over:
            return
        context = runtime.context
        context.fail(missing, missing.script.due, nobody_left(context.environment), overdue=True)

    def _missing(self) -> Optional[Conversation]:
        """Return the connection whose client is missing, if it is nothing else that the server waits for."""
        runtime = self._runtime
        conversations = runtime.session.connections.all
        if runtime.reception.attaching or any(conversation.inbox.open for conversation in conversations):
            return None
        for conversation in conversations:
            due = conversation.script.due
            if due is not None and due.connects and due.timing is DEFAULT_TIMING \
                    and conversation.script.gate is None and not conversation.inbox.accepted:
                return conversation
        return None

    def _is_ignored(self, task: asyncio.Task[Any]) -> bool:
        """Whether a task can't be the client: it leaves the server, or waits for one of its steps."""
        return task is self._leaver or self._runtime.host.waiters.includes(task)
