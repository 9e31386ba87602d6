"""The server for clients that block: a facade over a `MockTCPServer` that runs in a thread of its own.

    new --start--> running --stop--> stopped

Methods may be called in any thread: each call is carried out in the server's thread, while the caller waits. Steps are
created in the caller's thread, so that they know the line that wrote them. Handlers, and the callables in a script, run
in the server's thread; no method blocks there.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Coroutine, Sequence
from types import TracebackType
from typing import Any, Optional, TypeVar, cast

from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps.timing import UNSET, timing_of
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.interruption import Body

from .properties import ServerView
from .script import ServerScriptWriter
from .server import ConnectStep
from .threaded_runtime import InnerServer, ThreadedConnection, ThreadedRuntime
from .threaded_script import ThreadedScript

__all__ = ["ThreadedMockTCPServer"]

__unittest = True

S = TypeVar("S", bound="ThreadedMockTCPServer")
T = TypeVar("T")

# After so many turns of the loop, everything that a client had sent before it raised has been judged.
_TURNS = 16


class ThreadedMockTCPServer(ServerScriptWriter, ServerView):
    """A real TCP server for clients that block, with the scripting methods and the reports of `MockTCPServer`.

    It runs in a thread of its own. Use ``with ThreadedMockTCPServer() as server``, or call ``server.start()`` and
    ``server.stop()``. The options are those of `MockTCPServer`. The methods may be called in any thread.

    - `join`, `Step.result` and `Step.exception` block until there is an answer.
    - When the script fails, `join` and `Step.result` raise `ExpectationError`, `Step.exception` returns it, and clients
      that wait for the server get a reset at once.
    - On leaving, the server waits for the rest of the script, and raises `ExpectationError` if the clients did not do
      what it says.

    In an asynchronous test, use ``async with``, and await steps and `join`: the test's loop keeps running meanwhile.

    On Python 3.12 and later, `os.fork` warns while any other thread is alive, and so while a server runs. In the forked
    child, the servers of the parent are stopped; their connections are not touched.
    """

    _how_to_start = "use `with`, or start()"
    _runtime: ThreadedRuntime
    _script: ThreadedScript

    def __init__(self, host: Optional[str] = None, port: int = 0, **options: Any) -> None:
        self._server = InnerServer(host, port, **options)
        self._unix_path = self._server.unix_path
        self._runtime = self._server._runtime
        self._script = self._server._script
        self._thread = self._server.thread

    # Start and stop.

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
        """Listen, and accept clients from now on; return the server. Raises `OSError` if the port is taken.

        Unlike ``async with``, it does not interrupt your test when the script fails: a coroutine that waits for its own
        event keeps waiting.
        """
        self.open()
        return self

    def stop(self) -> None:
        """Leave the server: wait for the rest of the script, judge, and close everything. A second call does nothing.

        Raises `ExpectationError` if the clients did not do what the script says.

        While an exception propagates (in a ``finally``, or in an ``except`` that ends with ``raise``), the server does
        not wait, and the exception propagates further, unless the script had failed before. If an ``except`` catches
        the exception for good, `stop` judges as usual.
        """
        self.leave(self._server.leaving_with(sys.exc_info()[1]))

    def open(self) -> None:
        """Bind, listen, and accept clients, as `start` does."""
        runtime = self._runtime
        if runtime.context.closed:
            raise self._thread.gone()
        if runtime.running:
            return
        self._thread.start("tcpclient_testing server")
        try:
            self._thread.call(self._open)
        except BaseException:
            self._thread.stop()
            raise

    def _open(self) -> None:
        # Called in the thread, since the server takes the loop that is running there.
        self._server.open()

    def leave(self, exc: Optional[BaseException] = None, *, implied_disconnect: bool = False) -> None:
        """Judge, and close everything. `exc` is the exception that the body ended with, or None.

        With `implied_disconnect`, a script that does not say how its connection ends is taken to end with an
        `expect_disconnect()`.
        """
        if self._runtime.closed or not self._runtime.running:
            self._end()
            return
        try:
            self._thread.answer(self._thread.submit(self._leave(exc, implied_disconnect)))
        finally:
            self._end()

    async def leave_in_loop(self, exc: Optional[BaseException] = None) -> None:
        """Do what `leave` does, for a caller whose event loop must keep running meanwhile."""
        try:
            interrupted = await self.release_body()
            if self._runtime.running and not self._runtime.closed:
                await self._answered(self._leave(exc, interrupted=interrupted))
        finally:
            self._end()

    async def _answered(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread, and await its answer in another loop."""
        try:
            return await asyncio.wrap_future(self._thread.submit(coroutine))
        except (AssertionError, ScriptError) as error:
            # The error is about the script: don't show the frames that it passed in the loop.
            raise error.with_traceback(None)  # noqa: B904 - the same exception

    async def _leave(self, exc: Optional[BaseException], implied_disconnect: bool = False, *,
                     interrupted: bool = False) -> None:
        await self._take_in(exc)
        await self._server.leave(exc, implied_disconnect=implied_disconnect, interrupted=interrupted)

    async def _take_in(self, exc: Optional[BaseException]) -> None:
        """Process what the client did before it raised `exc`. Call this before `exc` is judged."""
        if exc is not None and self._runtime.running:
            self._runtime.reception.accept()
            for _ in range(_TURNS):
                await asyncio.sleep(0)

    def _end(self) -> None:
        """End the thread, after the verdict. Raise `ScriptError` if the thread had ended with an error before."""
        error = self._thread.error
        self._thread.stop()
        if error is not None:
            self._thread.forget_error()
            raise ScriptError(f"the server's thread has ended: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close everything at once, whatever the clients are doing, and judge nothing."""
        self._thread.stop()

    @property
    def connections(self) -> list[ThreadedConnection]:  # type: ignore[override]
        """The connections accepted so far, in order."""
        return cast("list[ThreadedConnection]", self._server.connections)

    # For test frameworks, as on `MockTCPServer`. What needs no waiting is in `ServerView`.

    def set_other_servers(self, servers: Sequence[ThreadedMockTCPServer]) -> None:
        """Make this one of the `servers` of a test: if it fails, callers that wait for another of them are released.

        The list may grow afterwards.
        """
        if self._server.cancels_body:
            self._runtime.host.set_companions(lambda: [server._runtime.host for server in servers])
        for server in servers:
            server._runtime.host.fail_if_failed(self._runtime.host)

    def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None:
        """Make `task`, of any loop, the body of the test from now on, as `MockTCPServer.set_body` does."""
        if self._server.cancels_body:
            host = self._runtime.host
            # If the script fails later, the server's thread sees the body then.
            host.set_body(Body(task, host.awaiting.includes, cleaning=cleaning))

    async def release_body(self) -> bool:
        """Stop interrupting the body, the running task. Return whether it was interrupted, and by nobody else."""
        body = self._runtime.host.take_body()
        return body is not None and await body.release()

    def body_ended(self, exc: Optional[BaseException], *, attach: bool = True) -> Optional[BaseException]:
        """The body, which blocks, has ended, with `exc` or without. Return the exception to raise instead, or None."""
        return self.conclude_part(exc, interrupted=False, attach=attach)

    async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False,
                       attach: bool = True) -> Optional[BaseException]:
        """Do the same for a body that is a coroutine. `interrupted` is what `release_body` returned."""
        return await self._answered(self._conclude(exc, interrupted, attach))

    def conclude_part(self, exc: Optional[BaseException], *, interrupted: bool,
                      attach: bool = True) -> Optional[BaseException]:
        """Do what `conclude` does while the body goes on, for example after a subtest. This blocks."""
        return self._thread.answer(self._thread.submit(self._conclude(exc, interrupted, attach)))

    async def _conclude(self, exc: Optional[BaseException], interrupted: bool,
                        attach: bool) -> Optional[BaseException]:
        await self._take_in(exc)
        return await self._server.conclude(exc, interrupted=interrupted, attach=attach)

    def judge(self, *, implied_disconnect: bool = False) -> None:
        """Do what ``join(final=True)`` does; with `implied_disconnect` as `leave` does."""
        self._thread.answer(self._thread.submit(self._server.judge(implied_disconnect=implied_disconnect)))

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """Give no verdict any more: the test has its one report. Attach the conversation to its exception, `exc`."""
        self._server.excuse(exc)

    def blames(self, exc: BaseException) -> bool:
        """Whether the script had failed before `exc` was raised, after the body. If so, the report shows `exc`."""
        return self._server.blames(exc)

    # The script.

    def expect_connect(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       after: Optional[float] = None) -> ConnectStep[ThreadedConnection]:
        """A client connects; the result is the connection. The first step of every script.

        Each further `expect_connect()` is the next connection that is accepted.

        `after` and `within` are seconds from the moment at which this step's turn comes: the test fails if the client
        connects earlier than `after`, or later than `within`.
        """
        step: ConnectStep[ThreadedConnection] = ConnectStep(origin_of(sys._getframe(1)),
                                                            timing_of("expect_connect", timeout, within, after))
        self._script.add_connection(step)
        return step

    # Waiting.

    def join(self, timeout: Optional[float] = None, *, final: bool = False) -> Awaitable[None]:
        """Block until every step added so far is satisfied; raise `ExpectationError` if the script fails.

        Raises `TimeoutError` after `timeout` seconds, with the state of the script and the transcript in its text; the
        script goes on. With ``final=True`` it judges as leaving the server does. In a running event loop it does not
        block: await what it returns.
        """
        return self._script.wait(self._server.join(final=final), timeout, "the script", None)
