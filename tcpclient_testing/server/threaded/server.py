"""The server for clients that block: a facade over a `MockTCPServer` that runs in a thread of its own.

    new --start--> running --stop--> stopped
                    ^   |
                    `clear

Methods may be called in any thread: each call is carried out in the server's thread, while the caller waits. Steps are
created in the caller's thread, so that they know the line that wrote them. Handlers, and the callables in a script, run
in the server's thread; no method blocks there. A callable that blocks there ends the test.
"""

from __future__ import annotations

import sys
from asyncio import events
from collections.abc import Awaitable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Optional, TypeVar, cast
from weakref import WeakMethod

from tcpclient_testing.aio.process.quiescence import rests_while
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.steps.timing import UNSET, timing_of
from tcpclient_testing.harness.adopting.owners import adopt
from tcpclient_testing.harness.judged import ON_ITS_WAY
from tcpclient_testing.harness.run import block_of, leaving_with
from tcpclient_testing.harness.tracebacks import FRAMES_HIDDEN
from tcpclient_testing.server.forgotten import Forgettable
from tcpclient_testing.server.judgement import Judgement
from tcpclient_testing.server.properties import ServerView
from tcpclient_testing.server.script import ServerScriptWriter
from tcpclient_testing.server.server import ConnectStep

from .cross_thread import DONE
from .judgement import ThreadedJudgement
from .runtime import InnerServer, ThreadedConnection, ThreadedRuntime
from .script import ThreadedScript

if TYPE_CHECKING:
    from tcpclient_testing.report.report import ExpectationError

__all__ = ["ThreadedMockTCPServer"]

__unittest = True

S = TypeVar("S", bound="ThreadedMockTCPServer")

class ThreadedMockTCPServer(ServerScriptWriter, ServerView, Forgettable):
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
        self._server = inner = InnerServer(host, port, **options)
        self._thread = inner.thread
        self._begin()

    def _begin(self) -> None:
        """Use the parts of the inner server's script."""
        inner = self._server
        self._runtime = inner._runtime
        self._lifetime = inner._lifetime
        self._script = inner._script
        self._judgement = ThreadedJudgement(inner._runtime, inner._judgement, inner.thread)
        go_on = WeakMethod(self._go_on)  # nothing in the thread refers to the server that the test has

        def tell(*_: Judgement) -> None:
            method = go_on()
            if method is not None:
                method()
        inner._judgement.follow(tell)

    def _go_on(self) -> None:
        # Called in the thread: the inner server has begun another script.
        cleared = self._judgement
        self._begin()
        cleared.give_way(self._judgement)

    # Start and stop.

    # Ctrl-C may strike in any line of these methods. It leaves no thread behind: to abandon an ended one does nothing.

    def __enter__(self: S) -> S:
        try:
            self._thread.belongs_to(self)
            self.open()
            adopt(self._judgement, self, block=True)
            block_of(self._judgement).__enter__()
            return self
        except BaseException:
            self._thread.abandon()
            raise

    def __exit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        try:
            with FRAMES_HIDDEN:
                block_of(self._judgement).__exit__(exc_type, exc, traceback)
        finally:
            self._thread.abandon()

    async def __aenter__(self: S) -> S:
        try:
            self._thread.belongs_to(self)
            self.open()
            adopt(self._judgement, self, block=True)
            await block_of(self._judgement).__aenter__()
            return self
        except BaseException:
            self._thread.abandon()
            raise

    async def __aexit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        try:
            with FRAMES_HIDDEN:
                await block_of(self._judgement).__aexit__(exc_type, exc, traceback)
        finally:
            self._thread.abandon()

    def start(self: S) -> S:
        """Listen, and accept clients from now on; return the server. Raises `OSError` if the port is taken.

        Unlike ``async with``, it interrupts your test when the script fails only if it is called in the set-up of a
        unittest case, or in a pytest fixture that is made for one test. Elsewhere a coroutine that waits for its own
        event keeps waiting.
        """
        try:
            self.open()
            adopt(self._judgement, self, block=False)
            return self
        except BaseException:
            self._thread.abandon()
            raise

    def stop(self, exc: Optional[BaseException] = ON_ITS_WAY, *, judge: bool = True) -> None:
        """Leave the server: wait for the rest of the script, judge, and close everything. A second call does nothing.

        Raises `ExpectationError` if the clients did not do what the script says. For an exception that is on its way,
        and for the arguments, see `MockTCPServer.stop`.
        """
        try:
            exc = leaving_with(self._judgement, exc)
            with FRAMES_HIDDEN:
                block_of(self._judgement, judge=judge).__exit__(None, exc, None)
        finally:
            self._thread.abandon()

    def clear(self, exc: Optional[BaseException] = ON_ITS_WAY, *, judge: bool = True) -> Awaitable[None]:
        """End this script, and begin a new one: for a server that outlives a test.

        Wait for the rest of the script, check it as leaving the server does, close every connection, and begin with an
        empty script and transcript. The address, the options and the certificate stay. ::

            self.addCleanup(server.clear)   # in setUp; the server is started in setUpClass

        Raises `ExpectationError` if the clients did not do what the script says, and no report has said so yet: the
        failure belongs to the test that clears. Everything else is as in `MockTCPServer.clear`.

        It blocks. In a running event loop it does not: await what it returns.
        """
        if not self._thread.given_up:  # else it is left here, and its verdict says why
            self._script.check_started()
        loop = events._get_running_loop()
        if loop is self._thread.loop:
            return self._server.clear(exc, judge=judge)
        if loop is not None:
            cleared: Any = self._clear_in_loop(exc, judge)
            cleared.__qualname__ = "ThreadedMockTCPServer.clear"  # Python warns of it by this name if nobody awaits it
            awaited: Awaitable[None] = cleared
            return awaited
        exc = leaving_with(self._judgement, exc)
        with FRAMES_HIDDEN:
            block_of(self._judgement, judge=judge, clears=True).__exit__(None, exc, None)
        return DONE

    async def _clear_in_loop(self, exc: Optional[BaseException], judge: bool) -> None:
        exc = leaving_with(self._judgement, exc)
        with FRAMES_HIDDEN:
            await block_of(self._judgement, judge=judge, clears=True).__aexit__(None, exc, None)

    def open(self) -> None:
        """Bind, listen, and accept clients, as `start` does."""
        runtime = self._runtime
        if runtime.context.closed:
            raise self._thread.gone()
        if runtime.running:
            return
        # In the thread: the server takes the loop that is running there.
        self._thread.start("tcpclient_testing server", self._lifetime.open)
        if self._thread.thread is not None:
            rests_while(self._thread.thread, self._server.is_unused)
        self._remember()

    def close(self) -> None:
        """Close everything at once, whatever the clients are doing, and judge nothing."""
        try:
            self._judgement.close()
        finally:
            self._thread.abandon()

    def _failure(self) -> Optional[ExpectationError]:
        return self._judgement.error()

    def _abandon(self) -> None:
        self._thread.let_go()

    @property
    def connections(self) -> list[ThreadedConnection]:  # type: ignore[override]
        """The connections accepted so far, in order."""
        return cast("list[ThreadedConnection]", self._server.connections)

    # The script.

    def expect_connect(self, *, timeout: Optional[float] = UNSET, within: Optional[float] = None,
                       after: Optional[float] = None, label: Optional[str] = None) -> ConnectStep[ThreadedConnection]:
        """A client connects; the result is the connection. The first step of every script.

        Each further `expect_connect()` is the next connection that is accepted.

        `after` and `within` are seconds from the moment at which this step's turn comes: the test fails if the client
        connects earlier than `after`, or later than `within`.
        """
        step: ConnectStep[ThreadedConnection] = ConnectStep(origin_of(sys._getframe(1), label),
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
