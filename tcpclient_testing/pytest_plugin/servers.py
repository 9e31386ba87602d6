"""The servers that a test has under pytest, and when they give the test's one verdict.

    set-up -> begin -> body -> end -> tear-down of fixtures -> finish

The servers judge at the end of the body. If a fixture may still close the client at its tear-down, they judge in
`finish`.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import sys
from asyncio import events
from collections.abc import AsyncGenerator, Iterator
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.exceptions import raise_alone
from tcpclient_testing.harness.interruption import consequence
from tcpclient_testing.harness.run import ServersOfTest
from tcpclient_testing.report.report import ExpectationError
from tcpclient_testing.server.server import MockTCPServer

from .dropped_streams import DroppedStreams
from .tracebacks import frame_of

if TYPE_CHECKING:
    from tcpclient_testing.server.threaded import ThreadedMockTCPServer

__all__ = ["ServersOfFixtures"]

__unittest = True

# After this many turns of the loop, what a client in the same loop did has arrived.
_TURNS = 16


Server = Union[MockTCPServer, "ThreadedMockTCPServer"]


class ServersOfFixtures(ServersOfTest["Server"]):
    """The servers of one test under pytest, and what is known about the test.

    - `asynchronous` and `blocking` say which of the fixtures the test uses.
    - `later` has the code of each fixture that was set up after them and may close the client at its tear-down. A None
      in it says that the test itself may add such a fixture or finalizer.
    - `running` says that the test function runs: what is reported then is a subtest.
    - `frame` is the frame of the test function, if that has raised.
    - `success` is what pytest reports on a test that passes although it is marked to fail. It is kept until it is
      certain that the test passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.threaded: list[ThreadedMockTCPServer] = []
        self.asynchronous = False
        self.blocking = False
        self.later: list[Optional[CodeType]] = []
        self.frame: Optional[FrameType] = None
        self.running = False
        self.success: dict[str, Any] = {}
        self._dropped = DroppedStreams()
        self._left_open: list[str] = []
        self._began = False
        self._over = False
        self._verdicts: list[BaseException] = []  # what was raised as the verdict: one, unless subtests report more
        self._told_verdict = False  # whether a verdict was reported, even if the test's own call of join() raised it

    @property
    def _in_loop(self) -> list[MockTCPServer]:
        """The asynchronous servers, which run in a loop of the test."""
        return [server for server in self.servers if isinstance(server, MockTCPServer)]

    def add(self, server: Server) -> None:
        """Add a server that the test has made."""
        super().add(server)
        if not isinstance(server, MockTCPServer):
            self.threaded.append(server)

    # What the hooks and the fixtures find out about the test.

    def uses_asynchronous(self) -> None:
        """Note that the test uses a fixture of asynchronous servers."""
        self.asynchronous = True

    def uses_blocking(self) -> None:
        """Note that the test uses a fixture of servers in threads."""
        self.blocking = True

    def add_later(self, code: Optional[CodeType]) -> None:
        """Note a fixture that may close the client at its tear-down, or with None that the test may add one."""
        self.later.append(code)

    def put_off(self, success: dict[str, Any]) -> None:
        """Keep what pytest reports on a test that passes, until it is certain that the test passes."""
        self.success = success

    @contextlib.contextmanager
    def call(self) -> Iterator[None]:
        """In the `with` block, the test function runs."""
        self.running = True
        try:
            yield
        finally:
            self.running = False

    # The body.

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that calls the test function, and raises the verdict when that has ended."""
        if not inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            def blocking_body(*args: Any, **kwargs: Any) -> Any:
                try:
                    with self._dropped:
                        return self._run_blocking(function, args, kwargs)
                finally:
                    self._tell_of_dropped_streams()
            return blocking_body

        @functools.wraps(function)
        async def body(*args: Any, **kwargs: Any) -> Any:
            try:
                with self._dropped:
                    return await self._run(function, args, kwargs)
            finally:
                self._tell_of_dropped_streams()
        return body

    async def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._begin()
        try:
            value = await function(*args, **kwargs)
        except BaseException as exc:
            self.frame = frame_of(function, exc)
            verdict = self._end(await self._ended(exc), exc)
            if verdict is None:
                if self.is_reported(exc):
                    return None
                raise
        else:
            verdict = self._end(await self._ended(None), None) or self._end(await self._judge(), None)
            if verdict is None:
                return value
        return raise_alone(verdict)

    def _run_blocking(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        self._began = True
        try:
            value = function(*args, **kwargs)
        except BaseException as exc:
            self.frame = frame_of(function, exc)
            verdict = self._end(self._ended_blocking(exc), exc)
            if verdict is None:
                if self.is_reported(exc):
                    return None
                raise
        else:
            verdict = self._end(self._ended_blocking(None), None) or self._end(self._judge_threaded(), None)
            if verdict is None:
                return value
        return raise_alone(verdict)

    def _tell_of_dropped_streams(self) -> None:
        """Pass on or keep the warnings about streams that the test has dropped, once it is known whether it failed."""
        if self._told_verdict:
            self._left_open += self._dropped.keep()
        elif not self.undecided():
            self._dropped.tell()

    def _begin(self) -> None:
        self._began = True
        loop = events._get_running_loop()
        if loop is None:
            return  # the loop is trio's
        for server in self._in_loop:
            if not server.closed and server.loop is not None and server.loop is not loop:
                raise ScriptError("the server lives in another event loop than the test: an asynchronous fixture has "
                                  "used it first; give the fixture and the test the same loop_scope")
        self.begin()

    def stopped(self, error: RuntimeError) -> Optional[BaseException]:
        """The call of the test has ended with `error`. Return what to raise instead if the body has not ended."""
        stopped = self.abandon(error)
        if stopped is not None:
            self._over = True
            self._dropped.__exit__()  # the body has not ended, and can't do it
            self._tell_of_dropped_streams()
        return stopped

    async def _ended(self, exc: Optional[BaseException]) -> Optional[BaseException]:
        if events._get_running_loop() is None:
            return self._ended_blocking(exc)  # the loop is trio's
        return await self.end(exc, attach=False)

    def _ended_blocking(self, exc: Optional[BaseException]) -> Optional[BaseException]:
        return self.concluded(exc, [(server, server.body_ended(exc, attach=False)) for server in self.live()
                                    if not isinstance(server, MockTCPServer)])

    def _end(self, verdict: Optional[BaseException], exc: Optional[BaseException]) -> Optional[BaseException]:
        """Note that the body has ended, with `exc` or without, and with this verdict so far. Return the verdict."""
        self._over = self._over or verdict is not None or exc is not None
        self._told_verdict = self._told_verdict or verdict is not None or isinstance(exc, ExpectationError)
        self._verdicts += [] if verdict is None else [verdict]
        return verdict

    # The verdict.

    async def _judge(self) -> Optional[BaseException]:
        if self.later:
            for _ in range(_TURNS):
                await asyncio.sleep(0) if events._get_running_loop() else None
            for server in self.unreported():
                if server.failed_at() < float("inf"):
                    return server.verdict()
                if server.settled():
                    try:
                        await _awaited(server, server.judge)
                    except ExpectationError as error:
                        return error
            return None
        return await self.leave_all()

    async def leave_all(self) -> Optional[BaseException]:
        """Leave all servers. Return the verdict, which is the earliest failure; None if there is none."""
        live = self.live()
        for server in live:
            try:
                await _awaited(server, server.leave)
            except ExpectationError as error:
                return self._earliest(live, error)
        return None

    def _judge_threaded(self) -> Optional[BaseException]:
        if not self.later:
            return self.leave_threaded()
        for server in self.unreported():
            if not isinstance(server, MockTCPServer) and server.settled():
                try:
                    server.judge(implied_disconnect=True)
                except ExpectationError as error:
                    return error
        return None

    def leave_threaded(self) -> Optional[BaseException]:
        """Leave the threaded servers. Return the verdict, which is the earliest failure; None if there is none."""
        live = [server for server in self.live() if not isinstance(server, MockTCPServer)]
        for server in live:
            try:
                server.leave(implied_disconnect=True)
            except ExpectationError as error:
                return self._earliest(live, error)
        return None

    def _earliest(self, servers: list[Any], error: ExpectationError) -> Optional[BaseException]:
        """Return the verdict, now that one server has raised `error` while it was left, and close the other servers."""
        first = min((server for server in servers if server not in self._told), key=lambda server: server.failed_at())
        verdict = error if first.closed else first.verdict()
        for server in servers:
            server.close()
        return verdict

    # Set-up and tear-down.

    async def run_fixture_set_up(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a fixture until it has its value. If a script fails, interrupt it.

        Then raise the exception that the fixture was handling, or else the verdict.
        """
        self._begin_fixture(cleaning=False)
        try:
            value = await function(*args, **kwargs)
        except asyncio.CancelledError as exc:
            if not await self.release():
                raise
            instead = consequence(exc) or self._first_verdict()
        except BaseException:
            await self.release()
            raise
        else:
            await self.release()
            return value
        return raise_alone(instead)

    async def run_fixture_tear_down(self, values: AsyncGenerator[Any, None]) -> bool:
        """Run the rest of a fixture. Return whether it yields another value.

        If a script has failed, interrupt the fixture. What it raises then is a consequence, and is dropped.
        """
        self._begin_fixture(cleaning=True)
        try:
            await values.__anext__()
        except StopAsyncIteration:
            await self.release()
            return False
        except BaseException as exc:
            if not await self.end_of_tear_down(exc):
                raise
            return False
        await self.release()
        return True

    def _begin_fixture(self, *, cleaning: bool) -> None:
        """Make the fixture the body of threaded servers and of those in its loop. That need not be the test's loop."""
        loop = events._get_running_loop()
        task = None if loop is None else asyncio.current_task()
        for server in self.live():
            if task is not None and (not isinstance(server, MockTCPServer) or server.loop is loop):
                server.set_body(task, cleaning=cleaning)

    def _first_verdict(self) -> BaseException:
        verdict = next(filter(None, (server.verdict() for server in self.live())))
        self._verdicts.append(verdict)
        return verdict

    def verdict_instead_of(self, exc: Exception) -> Optional[BaseException]:
        """A fixture has raised `exc` while it was set up. Return what to raise instead, or None."""
        self._over = True
        for server in self.live():
            if server.blames(exc) and not isinstance(exc, ExpectationError):
                return self._end(server.verdict(), exc)
        return None

    def finish(self) -> Optional[BaseException]:
        """Close everything. Return the verdict if none was given before; otherwise None."""
        try:
            if self._began and not self._over:
                self._over = True
                return self._end(self.leave_threaded() or self._leave_asynchronous(), None)
        finally:
            self._close()
            self._tell_of_dropped_streams()
        return None

    def _leave_asynchronous(self) -> Optional[BaseException]:
        servers = [server for server in self.unreported() if isinstance(server, MockTCPServer)]
        for server in servers:
            failure = server.verdict()
            if failure is not None:
                return failure
        loop = next((server.loop for server in servers if server.loop is not None), None)
        if loop is None:
            return None
        if loop.is_closed():
            return ScriptError("the event loop in which the server lived was closed before the server could be judged: "
                               "let the test's own plugin for asynchronous tests make and close the loop, or join the "
                               "server before")
        if loop.is_running():
            return ScriptError("the event loop in which the server lives still runs at tear-down: await "
                               "tcpserver.stop() in it")
        return loop.run_until_complete(self.leave_all())

    def _close(self) -> None:
        loops = {server.loop for server in self._in_loop if not server.closed}
        for server in self.servers:
            server.close()
        for loop in loops:
            if loop is not None and not (loop.is_closed() or loop.is_running()):
                loop.run_until_complete(_some_turns())

    def explains(self, exc: BaseException) -> bool:
        """Whether `exc`, raised at tear-down, is a consequence of the failure that was reported."""
        if not self._told_verdict or self.is_verdict(exc):
            return False
        parts: Any = getattr(exc, "exceptions", None)
        if parts is not None:
            return all(self.explains(part) for part in parts)
        entry = exc.__traceback__ if isinstance(exc, Exception) else None
        while entry is not None:
            if entry.tb_frame.f_code in self.later:
                return True
            entry = entry.tb_next
        return False

    # Reports.

    def reported_by_subtest(self, exc: BaseException, *, attach: bool = False) -> Optional[BaseException]:
        """A subtest has raised `exc`. Return what it reports, perhaps `exc`; None if that was reported before."""
        told = super().reported_by_subtest(exc, attach=attach)
        self._told_verdict = self._told_verdict or isinstance(told, ExpectationError)
        if told is not exc and told is not None:
            self._verdicts.append(told)
        return told

    def is_verdict(self, error: BaseException) -> bool:
        """Whether `error` was raised as the verdict, not by the test function itself."""
        return any(error is verdict for verdict in self._verdicts)

    def undecided(self) -> bool:
        """Whether the test has passed so far, but may still fail when a fixture is torn down."""
        return self._began and not self._over and not all(server.settled() for server in self.live())

    def sections(self, verdict: Optional[ExpectationError]) -> list[tuple[str, str]]:
        """Return the sections of a failed test's report. If it failed with a `verdict`, that shows the script."""
        servers = self.servers
        lines: list[str] = []
        for server in servers:
            if len(server.transcript) or server.connections:
                if len(servers) > 1:
                    lines.append(repr(server))
                lines += server.conversation_so_far(script=verdict is None or len(servers) > 1)
        sections = [("tcpserver transcript", lines), ("streams that the test left open", self._left_open)]
        return [(title, "\n".join(text)) for title, text in sections if text]


async def _awaited(server: Server, method: Callable[..., Any]) -> None:
    """Let a server judge, without blocking the loop: the client may still run in it."""
    if isinstance(server, MockTCPServer):
        await method(implied_disconnect=True)
        return
    function = functools.partial(method, implied_disconnect=True)
    loop = events._get_running_loop()
    if loop is not None:
        await loop.run_in_executor(None, function)
    else:
        await sys.modules["trio"].to_thread.run_sync(function)


async def _some_turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
