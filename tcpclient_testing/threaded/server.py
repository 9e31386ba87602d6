"""The facade: what is asked of it in any thread is done in the server's own, by a `MockTCPServer` that lives there.

    new --start--> running --stop--> stopped

The caller waits for the answer. Steps are made in the caller's thread, so that they know the line that wrote them. The
callables that a script is given, and handlers, run in the server's thread; there, nothing waits.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Coroutine, Sequence
from functools import partial
from types import TracebackType
from typing import Any, Callable, Optional, TypeVar, cast

from tcpclient_testing.aio.body import Body
from tcpclient_testing.aio.loop_thread import LoopThread
from tcpclient_testing.aio.server import ConnectStep
from tcpclient_testing.aio.view import ServerView
from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.fault_methods import ServerFaultMethods
from tcpclient_testing.engine.framing import Framing
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.script import ScriptMethods
from tcpclient_testing.engine.steps import Step
from tcpclient_testing.engine.timing import UNSET, timing_of
from tcpclient_testing.errors import ScriptError

from .answers import answer
from .inner import InnerServer, ThreadedConnection, ThreadedRuntime

__all__ = ["ThreadedMockTCPServer"]

__unittest = True

S = TypeVar("S", bound="ThreadedMockTCPServer")
T = TypeVar("T")

# Turns of the loop in which everything that a client had sent before it raised has been judged.
_TURNS = 16


class ThreadedMockTCPServer(ScriptMethods, ServerFaultMethods, ServerView):
    """A real TCP server for clients that block, with the scripting methods and the reports of `MockTCPServer`.

    It lives in a thread of its own: ``with ThreadedMockTCPServer() as server``, or ``server.start()`` and
    ``server.stop()``. Its methods may be called in any thread. `join`, `Step.result` and `Step.exception` block until
    there is an answer; when the script fails, they raise `ExpectationError`, and clients that wait for the server get a
    reset at once. On leaving, the rest of the script is waited for, and `ExpectationError` is raised if the clients did
    not do what it says.

    In an asynchronous test use ``async with``, and await steps and `join`: they leave the test's loop free.

    The options are those of `MockTCPServer`. On Python 3.12 and later `os.fork` warns while any thread lives, and so
    while a server runs; in the forked child, servers of the parent are stopped, and its connections are not touched.
    """

    _for_all_connections = True
    _how_to_start = "use `with`, or start()"
    _runtime: ThreadedRuntime

    def __init__(self, host: Optional[str] = None, port: int = 0, **options: Any) -> None:
        self._server = InnerServer(host, port, **options)
        self._server.facade = self
        self._unix_path = self._server.unix_path
        self._runtime = runtime = cast(ThreadedRuntime, self._server._runtime)
        timeout = runtime.session.timeout
        self._thread = runtime.thread = LoopThread(5.0 if timeout is None else max(timeout, 1.0), self._server.close,
                                                   self._abandon)

    # Life.

    def __enter__(self: S) -> S:
        self.open()
        return self

    def __exit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.leave(exc)

    async def __aenter__(self: S) -> S:
        self.open()
        task = asyncio.current_task()
        assert task is not None
        self.set_body(task)
        return self

    async def __aexit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        await self.leave_in_loop(exc)

    def start(self: S) -> S:
        """Listen, and accept clients from now on; return the server. Raises `OSError` where the port is taken.

        A coroutine that waits for something of its own is not interrupted when the script has failed, as it is in
        ``async with``.
        """
        self.open()
        return self

    def stop(self) -> None:
        """Leave the server: wait for the rest of the script, judge, and close everything; a second call does nothing.

        Raises `ExpectationError` if the clients did not do what the script says. While an exception is on its way out
        (in a ``finally``, or in an ``except`` that ends with ``raise``), nothing is waited for, and the exception
        stands unless the script had failed before. In an ``except`` that ends it there, all is judged as ever.
        """
        self.leave(self._server.leaving_with(sys.exc_info()[1]))

    def open(self) -> None:
        """Bind, listen, and accept clients: what `start` does."""
        runtime = self._runtime
        if runtime.closed:
            raise self._thread._gone()
        if runtime.running:
            return
        self._thread.start("tcpclient_testing server")
        try:
            self._thread.call(self._open)
        except BaseException:
            self._thread.stop()
            raise

    def _open(self) -> None:
        # The runtime asks whether the loop that runs is its own.
        self._server.open()

    def leave(self, exc: Optional[BaseException] = None, *, implied_disconnect: bool = False) -> None:
        """Give the verdict, in view of the exception that the body ended with, and close everything."""
        if self._runtime.closed or not self._runtime.running:
            self._end()
            return
        try:
            self._thread.answer(self._thread.submit(self._leave(exc, implied_disconnect)))
        finally:
            self._end()

    async def leave_in_loop(self, exc: Optional[BaseException] = None) -> None:
        """Do what `leave` does, for a caller whose event loop has to go on meanwhile."""
        try:
            interrupted = await self.release_body()
            if self._runtime.running and not self._runtime.closed:
                await self._answered(self._leave(exc, interrupted=interrupted))
        finally:
            self._end()

    async def _answered(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Have a coroutine run in the thread, and await its answer in another loop."""
        try:
            return await asyncio.wrap_future(self._thread.submit(coroutine))
        except (AssertionError, ScriptError) as error:
            # They are about the script; the way through the loop is of no interest.
            raise error.with_traceback(None)  # noqa: B904 - the same exception

    async def _leave(self, exc: Optional[BaseException], implied_disconnect: bool = False, *,
                     interrupted: bool = False) -> None:
        await self._take_in(exc)
        await self._server.leave(exc, implied_disconnect=implied_disconnect, interrupted=interrupted)

    async def _take_in(self, exc: Optional[BaseException]) -> None:
        """Before an exception is judged: what the client did before it raised is to be judged first."""
        if exc is not None and self._runtime.running:
            self._runtime.reception.accept()
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _end(self) -> None:
        """End the thread; the verdict has been given."""
        error = self._thread.error
        self._thread.stop()
        if error is not None:
            self._thread.error = None
            raise ScriptError(f"the server's thread has ended: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close everything at once, whatever the clients do, and judge nothing."""
        self._thread.stop()

    def _abandon(self) -> None:
        self._runtime.abandon()

    @property
    def connections(self) -> list[ThreadedConnection]:  # type: ignore[override]
        """The connections accepted so far, in order."""
        return cast("list[ThreadedConnection]", self._server.connections)

    # What test frameworks ask, as of `MockTCPServer`; what needs no waiting is in `ServerView`.

    def accompany(self, servers: Sequence[ThreadedMockTCPServer]) -> None:
        """This is one of the `servers` of one test, which may grow: if it fails, whoever waits at another is freed."""
        if self._server.cancels_body:
            self._runtime.companions = servers
        for server in servers:
            if server._runtime.session.failure is not None and server._runtime.companions:
                self._runtime.hear_of(server._runtime)

    def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None:
        """From now on `task`, of any loop, is the body of the test: as `MockTCPServer.set_body` has it."""
        if self._server.cancels_body:
            runtime = self._runtime
            body = runtime.body = Body(task, runtime.awaiting.includes, cleaning=cleaning)
            if runtime.session.failure is not None:  # else the server's thread sees the body when it does
                body.interrupt_from_elsewhere()

    async def release_body(self) -> bool:
        """The body, which is the running task, is interrupted no more; return whether it was, and by nobody else."""
        body, self._runtime.body = self._runtime.body, None
        return body is not None and await body.release()

    def body_ended(self, exc: Optional[BaseException], *, attach: bool = True) -> Optional[BaseException]:
        """The body, which blocks, has ended, with `exc` or without: return what is to be raised instead, or None."""
        return self.conclude_part(exc, interrupted=False, attach=attach)

    async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False,
                       attach: bool = True) -> Optional[BaseException]:
        """The body, a coroutine, has ended: do the same. `interrupted` is what `release_body` said."""
        return await self._answered(self._conclude(exc, interrupted, attach))

    @property
    def interrupts_body(self) -> bool:
        """Whether the body was interrupted, and runs yet."""
        body = self._runtime.body
        return body is not None and body.interrupted

    def conclude_part(self, exc: Optional[BaseException], *, interrupted: bool,
                      attach: bool = True) -> Optional[BaseException]:
        """Do what `conclude` does, where the body goes on: after a subtest, say."""
        return self._thread.answer(self._thread.submit(self._conclude(exc, interrupted, attach)))

    async def _conclude(self, exc: Optional[BaseException], interrupted: bool,
                        attach: bool) -> Optional[BaseException]:
        await self._take_in(exc)
        return await self._server.conclude(exc, interrupted=interrupted, attach=attach)

    def judge(self, *, implied_disconnect: bool = False) -> None:
        """Do what ``join(final=True)`` does; with `implied_disconnect` as `leave` does."""
        self._thread.answer(self._thread.submit(self._server.judge(implied_disconnect=implied_disconnect)))

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """The test has its one report already: give no verdict any more. Attach what passed to `exc`, its exception."""
        self._server.excuse(exc)

    def blames(self, exc: BaseException) -> bool:
        """Whether `exc`, raised after the body, came after the script had failed; then the report has it."""
        return self._server.blames(exc)

    # The script.

    def expect_connect(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       after: Optional[float] = None) -> ConnectStep[ThreadedConnection]:
        """A client connects; the result is the connection. The first step of every script.

        Each further one is the next connection that is accepted. `after` and `within` are seconds from the moment at
        which it is this step's turn: a client that connects earlier than `after`, or later than `within`, has failed.
        """
        step: ConnectStep[ThreadedConnection] = ConnectStep(origin_of(sys._getframe(1)),
                                                            timing_of("expect_connect", timeout, within, after))
        self._call(self._server.add_connection, step)
        return step

    def _add(self, step: Step[Any]) -> None:
        self._call(self._server._add, step)

    def add_to(self, conversation: Conversation, step: Step[Any], *, by_handler: bool = False) -> None:
        """Append a step to the script of one connection."""
        self._call(partial(self._server.add_to, by_handler=by_handler), conversation, step)

    def put_beside(self, conversation: Optional[Conversation], written: Any) -> None:
        """Let something hold on a connection (None: the server's choice) from here on."""
        self._call(self._server.put_beside, conversation, written)

    def _put_beside(self, written: Any) -> None:
        self.put_beside(None, written)

    def open_block(self, conversation: Conversation) -> None:
        """Begin an `any_order()` block of one connection."""
        self._call(self._server.open_block, conversation)

    def close_block(self, conversation: Conversation) -> None:
        """End it."""
        self._call(self._server.close_block, conversation)

    def _open_block(self) -> None:
        self._call(self._server._open_block)

    def _close_block(self, whole: bool) -> None:
        self._call(self._server._close_block, whole)

    def _default_framing(self) -> Framing:
        return self._server._default_framing()

    def _default_ending(self) -> bytes:
        return self._server._default_ending()

    def _server_context(self, context: Any) -> Any:
        return self._server._server_context(context)

    def _call(self, function: Callable[..., T], *args: Any) -> T:
        self._check_started()
        return self._thread.call(function, *args)

    def _check_started(self) -> None:
        if not self._runtime.running:
            raise ScriptError("the server was not started: use `with ThreadedMockTCPServer()`, or start()")
        if self._thread.ended:
            raise self._thread._gone()

    # Waiting.

    def join(self, timeout: Optional[float] = None, *, final: bool = False) -> Awaitable[None]:
        """Block until every step added so far is satisfied; raise `ExpectationError` if the script fails.

        Raises `TimeoutError` after `timeout` seconds, with the state of the script and the transcript in its text; the
        script goes on then. With ``final=True`` it judges as leaving the server does. Where an event loop runs, it does
        not block: await what it returns.
        """
        return self._wait(self._server.join(final=final), timeout, "the script", None)

    def join_conversation(self, conversation: Conversation, timeout: Optional[float] = None) -> Awaitable[None]:
        """Block until every step of one connection is satisfied, in the way of `join`."""
        return self._wait(self._server.join_conversation(conversation), timeout,
                          f"the script of connection {conversation.number}", conversation)

    def _wait(self, coroutine: Coroutine[Any, Any, None], timeout: Optional[float], what: str,
              conversation: Optional[Conversation]) -> Awaitable[None]:
        try:
            seconds = checked_seconds("join(timeout)", timeout)
            self._check_started()
        except BaseException:
            coroutine.close()
            raise

        def too_late() -> TimeoutError:
            from .late import late
            session = self._runtime.session
            step = session.first_unsatisfied() if conversation is None or conversation.complete else \
                conversation.steps[conversation.cursor]
            return late(f"{what} is not complete", seconds or 0.0, step, session, self._runtime.transcript)
        return answer(self._thread, coroutine, seconds, too_late, self._runtime.awaiting)
