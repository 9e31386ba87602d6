"""The server for clients that block, and for those in other processes: the asynchronous one, on a loop in a thread.

    new --start--> running --stop--> stopped

A facade: what is asked of it in any thread is done in the server's own, by a `MockTCPServer` that lives there, and the
caller waits for the answer. Steps are made in the caller's thread, so that they know the line that wrote them. The
callables that a script is given, and handlers, run in the server's thread; there, nothing waits.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio import events
from collections.abc import Awaitable, Coroutine, Generator
from concurrent.futures import Future
from functools import partial
from types import TracebackType
from typing import Any, Callable, ClassVar, Optional, TypeVar, cast

from .aio.handle import Connection
from .aio.loop_thread import LoopThread
from .aio.runtime import Runtime
from .aio.server import ConnectStep, MockTCPServer
from .aio.waiting import Joined
from .engine.arguments import checked_seconds
from .engine.conversation import Conversation
from .engine.fault_methods import ServerFaultMethods
from .engine.framing import Framing
from .engine.origin import origin_of
from .engine.script import ScriptMethods
from .engine.steps import Step
from .engine.timing import UNSET, timing_of
from .errors import ScriptError
from .report import ExpectationError
from .transcript.entries import Transcript

__all__ = ["ThreadedConnection", "ThreadedMockTCPServer"]

__unittest = True

S = TypeVar("S", bound="ThreadedMockTCPServer")
T = TypeVar("T")

# Turns of the loop in which everything that a client had sent before it raised has been judged.
_TURNS = 16


class ThreadedMockTCPServer(ScriptMethods, ServerFaultMethods):
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

    def __init__(self, host: Optional[str] = None, port: int = 0, **options: Any) -> None:
        self._server = _Server(host, port, **options)
        self._server.facade = self
        self._runtime = runtime = cast(_ThreadedRuntime, self._server._runtime)
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
        return self

    async def __aexit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        if self._runtime.closed:
            self._end()
            return
        try:
            await asyncio.wrap_future(self._thread.submit(self._leave(exc)))
        finally:
            self._end()

    def start(self: S) -> S:
        """Listen, and accept clients from now on; return the server. Raises `OSError` where the port is taken."""
        self.open()
        return self

    def stop(self) -> None:
        """Leave the server: wait for the rest of the script, judge, and close everything; a second call does nothing.

        Raises `ExpectationError` if the clients did not do what the script says. While an exception is being handled
        (in a ``finally``), nothing is waited for.
        """
        self.leave(sys.exc_info()[1])

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

    async def _leave(self, exc: Optional[BaseException], implied_disconnect: bool = False) -> None:
        await self._take_in(exc)
        await self._server.leave(exc, implied_disconnect=implied_disconnect)

    async def _take_in(self, exc: Optional[BaseException]) -> None:
        """Before an exception is judged: what the client did before it raised is to be judged first."""
        if exc is not None and self._runtime.running:
            self._runtime.accept()
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

    # What test frameworks ask, as of `MockTCPServer`.

    @property
    def closed(self) -> bool:
        """Whether the server was left."""
        return self._runtime.closed

    def verdict(self) -> Optional[ExpectationError]:
        """Why the script has failed, to be raised; None if it has not."""
        return self._server.verdict()

    def failed_at(self) -> float:
        """When the script failed, in seconds of the loop's clock; infinity if it has not."""
        return self._server.failed_at()

    def body_ended(self, exc: Optional[BaseException], *, attach: bool = True) -> Optional[BaseException]:
        """The body has ended, with `exc` or without: return what is to be raised instead, or None."""
        return self._thread.answer(self._thread.submit(self._body_ended(exc, attach)))

    async def _body_ended(self, exc: Optional[BaseException], attach: bool) -> Optional[BaseException]:
        await self._take_in(exc)
        return await self._server.body_ended(exc, attach=attach)

    def judge(self, *, implied_disconnect: bool = False) -> None:
        """Do what ``join(final=True)`` does; with `implied_disconnect` as `leave` does."""
        self._thread.answer(self._thread.submit(self._server.judge(implied_disconnect=implied_disconnect)))

    def settled(self) -> bool:
        """Whether all is done: each step of the script, and every client has ended its stream."""
        return self._server.settled()

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """The test has its one report already: give no verdict any more. Attach what passed to `exc`, its exception."""
        self._server.excuse(exc)

    def blames(self, exc: BaseException) -> bool:
        """Whether `exc`, raised after the body, came after the script had failed; then the report has it."""
        return self._server.blames(exc)

    # Where it is, and what happened.

    @property
    def address(self) -> tuple[str, int]:
        """``(host, port)``, as `socket.create_connection` takes it; with ``unix_path=`` it is the path, a `str`."""
        return self._started().address

    def _started(self) -> MockTCPServer:
        if self._runtime.address is None:
            raise ScriptError("the server has no address before it was started: use `with`, or start()")
        return self._server

    @property
    def host(self) -> str:
        """The address of the local machine at which the server listens."""
        return self._started().host

    @property
    def port(self) -> int:
        """The port at which the server listens."""
        return self._started().port

    @property
    def service_port(self) -> int:
        """The same as `port`."""
        return self._started().port

    @property
    def unix_path(self) -> Optional[str]:
        """The path of the Unix-domain socket at which the server listens; None if it listens on a port."""
        return self._server.unix_path

    @property
    def connections(self) -> list[ThreadedConnection]:
        """The connections accepted so far, in order."""
        return cast("list[ThreadedConnection]", self._server.connections)

    @property
    def transcript(self) -> Transcript:
        """Everything that happened so far; iterate over it for the entries."""
        return self._server.transcript

    def conversation_so_far(self, *, script: bool = True) -> list[str]:
        """The transcript as a report shows it, line by line, and before it, if `script`, the state of each step."""
        return self._server.conversation_so_far(script=script)

    def __repr__(self) -> str:
        return repr(self._server).replace(type(self._server).__name__, type(self).__name__, 1)

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

        Raises `TimeoutError` after `timeout` seconds; the script goes on then. With ``final=True`` it judges as
        leaving the server does. Where an event loop runs, it does not block: await what it returns.
        """
        return self._wait(self._server.join(final=final), timeout, "the script")

    def join_conversation(self, conversation: Conversation, timeout: Optional[float] = None) -> Awaitable[None]:
        """Block until every step of one connection is satisfied, in the way of `join`."""
        return self._wait(self._server.join_conversation(conversation), timeout,
                          f"the script of connection {conversation.number}")

    def _wait(self, coroutine: Coroutine[Any, Any, None], timeout: Optional[float], what: str) -> Awaitable[None]:
        try:
            seconds = checked_seconds("join(timeout)", timeout)
            self._check_started()
        except BaseException:
            coroutine.close()
            raise
        loop = events._get_running_loop()
        if loop is self._runtime.loop:
            return coroutine  # a handler's
        future = self._thread.submit(coroutine)

        def late() -> str:
            step = self._runtime.session.first_unsatisfied()
            return f"{what} is not complete after {seconds:g} s" + ("" if step is None else f"; next is {_place(step)}")
        if loop is not None:
            return _Answer(future, seconds, late)
        self._thread.answer(future, seconds, late)
        return _DONE


class ThreadedConnection(Connection):
    """One connection of a `ThreadedMockTCPServer`, and the handle that writes its script, in any thread."""

    _server: Any

    def join(self, timeout: Optional[float] = None) -> Awaitable[None]:  # type: ignore[override]
        """Block until every step of this connection is satisfied; raise `ExpectationError` if the script fails.

        Raises `TimeoutError` after `timeout` seconds. Where an event loop runs, it does not block: await what it
        returns.
        """
        return cast("Awaitable[None]", self._server.join_conversation(self._conversation, timeout))


class _Answer:
    """What `join` returns where an event loop runs: to be awaited there. It is waited for already."""

    def __init__(self, future: Future[None], timeout: Optional[float], late: Callable[[], str]) -> None:
        self._future = future
        self._timeout = timeout
        self._late = late

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        future = asyncio.wrap_future(self._future)
        done, _ = await asyncio.wait((future,), timeout=self._timeout)
        if not done:
            future.cancel()
            raise TimeoutError(self._late())
        future.result()


class _Done:
    """The answer that has come already; it may be awaited."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_DONE = _Done()


class _ThreadedRuntime(Runtime):
    """A runtime whose steps may be asked in any thread."""

    threaded = True
    thread: LoopThread

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        if events._get_running_loop() is self.loop:
            return super().wait_for(step)
        if self.session.over:
            raise self.error()
        return asyncio.wrap_future(self.thread.submit(self._until(step))).__await__()

    async def _until(self, step: Step[Any]) -> None:
        if self.session.over and not step.satisfied:
            raise self.error()
        if not step.satisfied:
            await Joined(step)

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        seconds = checked_seconds("result(timeout)", timeout)
        if self.session.over:
            raise self.error()
        if self.thread.is_current:
            super().raise_unsatisfied(step, None)
        self.thread.answer(self.thread.submit(self._until(step)), seconds,
                           lambda: f"{_place(step)} is not satisfied after {seconds:g} s")

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        try:
            self.raise_unsatisfied(step, timeout)
        except ExpectationError as error:
            return error
        return None


class _Server(MockTCPServer):
    """The asynchronous server behind the facade."""

    _runtime_type: ClassVar[type[Runtime]] = _ThreadedRuntime
    facade: ThreadedMockTCPServer

    def _make_handle(self, conversation: Conversation) -> Connection:
        return ThreadedConnection(cast(Any, self.facade), conversation)

    def _make_handle_for_handler(self, conversation: Conversation) -> Connection:
        return ThreadedConnection(cast(Any, self.facade), conversation, for_handler=True)


def _place(step: Step[Any]) -> str:
    return f"step {step.index + 1} of connection {step.conversation.number}, {step} ({step.lines()[0]})"
