"""The asynchronous server in the thread of a `ThreadedMockTCPServer`, its runtime, and the connections users get.

Steps may be awaited and queried in any thread: `ThreadedHost` passes the request to the server's thread, and the caller
waits. Connections write their script through a `ThreadedScript`, so this works in any thread, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from asyncio import events
from collections.abc import Awaitable, Generator, Sequence
from typing import Any, Callable, ClassVar, Optional

from tcpclient_testing.aio.causes.lookout import Lookout
from tcpclient_testing.aio.guards.thread_guard import PATIENCE, ThreadBlocked, ThreadGuard
from tcpclient_testing.aio.host import Host, JoinWait
from tcpclient_testing.aio.process.blocked_call import BlockedCall, close_listeners, free_sockets
from tcpclient_testing.aio.runtime import Runtime
from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.environment import Failure
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.interruption import Body
from tcpclient_testing.report.report import ExpectationError
from tcpclient_testing.server.connection import Connection
from tcpclient_testing.server.judgement import Judgement
from tcpclient_testing.server.options import ServerOptions
from tcpclient_testing.server.script import ServerScript
from tcpclient_testing.server.server import MockTCPServer

from .cross_thread import Awaiting
from .loop_thread import LoopThread, waiting_threads
from .script import ThreadedScript

__all__ = ["InnerServer", "ThreadedConnection", "ThreadedHost", "ThreadedRuntime"]

__unittest = True

# How long (seconds) a test may take to notice by itself that the script of one of its servers has failed.
_MOMENT = 0.1


class ThreadedHost(Host):
    """A host whose steps may be awaited and queried in any thread. Its body, if it has one, runs in another loop."""

    threaded = True
    _thread: LoopThread

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.awaiting = Awaiting(self._make_lookout_in)
        self._companions: Callable[[], Sequence[ThreadedHost]] = tuple
        self._followed: Optional[ThreadedHost] = None

    def run_in(self, thread: LoopThread, test_thread: int) -> None:
        """Let `thread` be the one in which the server runs; `test_thread` is the system's number of the test's."""
        self._thread = thread
        self.test_thread = test_thread

    def thread_is_blocked(self, call: BlockedCall) -> None:
        """The thread is blocked by this call: give it up."""
        self._thread.give_up(call)

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        if events._get_running_loop() is self.context.loop:
            return super().wait_for(step)
        if self.session.environment.over:
            raise self.error()
        return self.awaiting.answer(self._thread.submit(self._until(step)).future())

    def interrupt_body(self) -> None:
        body = self.body  # read it once: another thread may set it to None at any time
        if body is not None:
            self._interrupt(body)
        for companion in self._companions():
            companion.fail_after(self)

    def _make_lookout(self, loop: asyncio.AbstractEventLoop) -> Lookout:
        return Lookout(self.context, self._address, self._waiting, self._report_cause, waiting_threads, loop)

    def _make_lookout_in(self, loop: asyncio.AbstractEventLoop) -> Lookout:
        """A task of another loop begins to wait: look there, too, whether a client has failed."""
        return Lookout(self.context, self._address, self.awaiting.tasks, self._report_elsewhere, waiting_threads, loop,
                       elsewhere=True)

    def _report_elsewhere(self, error: BaseException) -> bool:
        with contextlib.suppress(RuntimeError):  # the server's loop is closed
            self.context.loop.call_soon_threadsafe(self._report_cause, error)
            return True
        return False

    def closed(self) -> None:
        super().closed()
        self.awaiting.close()

    def _waits(self, body: Body, task: asyncio.Task[Any]) -> bool:
        return self.awaiting.has_body(body)

    def set_companions(self, companions: Callable[[], Sequence[ThreadedHost]]) -> None:
        """Make this one of a test's `companions`: if its script fails, they fail too. Further ones may come."""
        self._companions = companions

    def accompany(self, cleared: ThreadedHost) -> None:
        """Take the place of the host of a script that was cleared among the `companions` of its test."""
        self._companions = cleared._companions

    def fail_if_failed(self, other: ThreadedHost) -> None:
        """If the script has failed before `other` became a companion, let that one fail too."""
        if self.session.environment.failure is not None and self._companions():
            other.fail_after(self)

    def _interrupt(self, body: Body) -> None:
        body.interrupt_from_elsewhere()

    def fail_after(self, failed: ThreadedHost) -> None:
        """The script of `failed`, another server of the test, has failed: let this one fail, too, a moment from now.

        A test that blocks can't be interrupted. But if it waits for a step of this server, that wait ends.
        """
        if failed is not self:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop = self.context.loop
                loop.call_soon_threadsafe(loop.call_later, _MOMENT, self._follow, failed)

    def _follow(self, failed: ThreadedHost) -> None:
        if self.session.environment.over or failed.context.closed:
            return
        self._followed = failed
        self.giving_up = "the script of another server failed"
        self.context.fail(None, None, Mismatch("the script of another server of this test had failed"))

    def follows(self, failed: ThreadedHost) -> bool:
        """Whether this one has failed because `failed` had."""
        return self._followed is not None and (self._followed is failed or self._followed.follows(failed))

    def error(self) -> ExpectationError:
        return super().error() if self._followed is None else self._followed.error()

    async def _until(self, step: Step[Any]) -> None:
        if self.session.environment.over and not step.satisfied:
            raise self.error()
        if not step.satisfied:
            await JoinWait(step)

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        seconds = checked_seconds("result(timeout)", timeout)
        if self.session.environment.over:
            raise self.error()
        if self._thread.is_current:
            super().raise_unsatisfied(step, None)

        def too_late() -> TimeoutError:
            from .cross_thread import late, place_of
            return late(f"{place_of(step)} is not satisfied", seconds or 0.0, None, self.session, self.transcript)
        self._thread.answer(self._thread.submit(self._until(step)), seconds, too_late)

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        try:
            self.raise_unsatisfied(step, timeout)
        except ExpectationError as error:
            return error
        return None


class ThreadedRuntime(Runtime):
    """The runtime of a server whose loop runs in a thread of its own."""

    host_type = ThreadedHost
    host: ThreadedHost

    def _make_guard(self) -> ThreadGuard:
        return ThreadGuard(self.context, self.host.thread_is_blocked)

    def give_thread_up(self, call: BlockedCall) -> Callable[[], None]:
        """The server's thread is blocked by this call: let the script fail. Return what releases those who wait.

        This is called in another thread, while nothing runs in the server's.
        """
        if self.session.environment.verdict is None:
            self.session.end_with(Failure(None, None, ThreadBlocked(call), self.context.now()))
        return self._release

    def _release(self) -> None:
        """Break all sockets, and interrupt the body."""
        context, reception = self.context, self.reception
        links = [link for link in self.connections.links() if link.socket is not None] if context.attached else []
        for link in links:
            link.note(f"reset by the server: {self.host.giving_up}")
        free_sockets([*(link.socket for link in links), *reception.accepted], reception.listeners, reset=True)
        close_listeners(reception.listeners)
        self.host.interrupt_body()


class ThreadedConnection(Connection):
    """One connection of a `ThreadedMockTCPServer`. It is the handle that writes its script, and works in any thread."""

    _script: ThreadedScript

    def join(self, timeout: Optional[float] = None) -> Awaitable[None]:  # type: ignore[override]
        """Block until every step of this connection is satisfied; raise `ExpectationError` if the script fails.

        Raises `TimeoutError` after `timeout` seconds. In a running event loop it does not block: await what it returns.
        """
        return self._script.join_in_time(self._conversation, timeout)


class InnerServer(MockTCPServer):
    """The asynchronous server of a `ThreadedMockTCPServer`, with the `thread` that it is to run in."""

    _connection_type: ClassVar[type[Connection]] = ThreadedConnection
    _runtime: ThreadedRuntime
    _script: ThreadedScript

    def __init__(self, host: Optional[str] = None, port: int = 0, **options: Any) -> None:
        if options.get("in_memory"):
            raise ScriptError("ThreadedMockTCPServer can't be in memory: its clients block, or are in other threads or "
                              "processes; MockTCPServer(in_memory=True) is for clients in its own event loop")
        self._thread: Optional[LoopThread] = None
        self._test_thread = threading.get_native_id()
        super().__init__(host, port, **options)

    @property
    def thread(self) -> LoopThread:
        """The thread in which the server runs; it stays the same for all scripts of the server."""
        if self._thread is None:
            timeout = self._options.timeout
            # A blocked thread is noticed twice its patience after the call: five seconds after the time-out. The guard
            # is earlier, if it can be had.
            self._thread = LoopThread(((PATIENCE if timeout is None else timeout) + 5.0) / 2, self.close,
                                      self._let_go, self._give_thread_up, self._thread_error)
        return self._thread

    def is_unused(self) -> bool:
        """Whether there is no script, and no client: a server that is shared waits for its next test."""
        return not self._runtime.session.connections.all

    def _let_go(self) -> None:
        self._runtime.abandon()

    def _give_thread_up(self, call: BlockedCall) -> Callable[[], None]:
        return self._runtime.give_thread_up(call)

    def _thread_error(self) -> Exception:
        return self._runtime.host.error()

    def _begin_anew(self, listeners: list[socket.socket], loop: Optional[asyncio.AbstractEventLoop]) -> Judgement:
        judgement = super()._begin_anew(listeners, loop)
        if self.thread.given_up:
            judgement.close()  # the thread goes on again, but nobody waits for it any more
        return judgement

    def _make_runtime(self, options: ServerOptions) -> Runtime:
        runtime = ThreadedRuntime(options.timeout, options.idle_timeout, options.transcript_limit, self._handles.make,
                                  self._handles.make_for_handler)
        runtime.host.run_in(self.thread, self._test_thread)
        return runtime

    def _make_script(self, options: ServerOptions) -> ServerScript:
        return ThreadedScript(self._runtime, options.framing, options.ending, self._lifetime.check_usable,
                              self.thread, self._runtime.host.awaiting)
