"""The asynchronous server in the thread of a `ThreadedMockTCPServer`, its runtime, and the connections users get.

Steps may be awaited and queried in any thread: the runtime passes the request to the server's thread, and the caller
waits. Connections write their script through the facade, `ThreadedMockTCPServer`, so this works in any thread, too.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import events
from collections.abc import Awaitable, Generator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Optional, cast

from tcpclient_testing.aio.runtime import Runtime
from tcpclient_testing.aio.waiting import JoinWait
from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.report.report import ExpectationError

from .connection import Connection
from .cross_thread import Awaiting
from .loop_thread import LoopThread
from .server import MockTCPServer

if TYPE_CHECKING:
    from .threaded import ThreadedMockTCPServer

__all__ = ["InnerServer", "ThreadedConnection", "ThreadedRuntime"]

__unittest = True

# How long (seconds) a test may take to notice by itself that the script of one of its servers has failed.
_MOMENT = 0.1


class ThreadedRuntime(Runtime):
    """A runtime whose steps may be awaited and queried in any thread. Its body, if it has one, runs in another loop."""

    threaded = True
    thread: LoopThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.awaiting = Awaiting()
        self.other_servers: Sequence[ThreadedMockTCPServer] = ()
        self._followed: Optional[ThreadedRuntime] = None

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        if events._get_running_loop() is self.loop:
            return super().wait_for(step)
        if self.session.over:
            raise self.error()
        return self.awaiting.answer(asyncio.wrap_future(self.thread.submit(self._until(step))))

    def interrupt_body(self) -> None:
        body = self.body  # read it once: the other thread may set it to None at any time
        if body is not None:
            body.interrupt_from_elsewhere()
        for companion in tuple(self.other_servers):
            companion._runtime.hear_of(self)

    def hear_of(self, failed: ThreadedRuntime) -> None:
        """The script of `failed`, another server of the test, has failed: let this one fail, too, a moment from now.

        A test that blocks can't be interrupted. But if it waits for a step of this server, that wait ends.
        """
        if failed is not self:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                self.loop.call_soon_threadsafe(self.loop.call_later, _MOMENT, self._follow, failed)

    def _follow(self, failed: ThreadedRuntime) -> None:
        session = self.session
        if session.over or failed.closed:
            return
        self._followed = failed
        self.giving_up = "the script of another server failed"
        session.now = self.loop.time()
        session.fail(None, None, Mismatch("the script of another server of this test had failed"))
        self.perform()

    def error(self) -> ExpectationError:
        return super().error() if self._followed is None else self._followed.error()

    async def _until(self, step: Step[Any]) -> None:
        if self.session.over and not step.satisfied:
            raise self.error()
        if not step.satisfied:
            await JoinWait(step)

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        seconds = checked_seconds("result(timeout)", timeout)
        if self.session.over:
            raise self.error()
        if self.thread.is_current:
            super().raise_unsatisfied(step, None)

        def too_late() -> TimeoutError:
            from .cross_thread import late, place_of
            return late(f"{place_of(step)} is not satisfied", seconds or 0.0, None, self.session, self.transcript)
        self.thread.answer(self.thread.submit(self._until(step)), seconds, too_late)

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        try:
            self.raise_unsatisfied(step, timeout)
        except ExpectationError as error:
            return error
        return None


class ThreadedConnection(Connection):
    """One connection of a `ThreadedMockTCPServer`. It is the handle that writes its script, and works in any thread."""

    _server: Any

    def join(self, timeout: Optional[float] = None) -> Awaitable[None]:  # type: ignore[override]
        """Block until every step of this connection is satisfied; raise `ExpectationError` if the script fails.

        Raises `TimeoutError` after `timeout` seconds. In a running event loop it does not block: await what it returns.
        """
        return cast("Awaitable[None]", self._server.join_conversation(self._conversation, timeout))


class InnerServer(MockTCPServer):
    """The asynchronous server behind a `ThreadedMockTCPServer`, its `facade`."""

    _runtime_type: ClassVar[type[Runtime]] = ThreadedRuntime
    facade: ThreadedMockTCPServer

    async def release_body(self) -> bool:
        return False  # the body runs in another loop: the facade releases it

    def _make_handle(self, conversation: Conversation) -> Connection:
        return ThreadedConnection(cast(Any, self.facade), conversation)

    def _make_handle_for_handler(self, conversation: Conversation) -> Connection:
        return ThreadedConnection(cast(Any, self.facade), conversation, for_handler=True)
