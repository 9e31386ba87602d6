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
from asyncio import events
from collections.abc import AsyncGenerator, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.run import run, run_blocking
from tcpclient_testing.harness.servers import BODY, SET_UP, TEAR_DOWN, owner_of, without_waiting
from tcpclient_testing.report.report import ExpectationError
from tcpclient_testing.server.judgement import Judgement

from .dropped_streams import DroppedStreams
from .tracebacks import frame_of
from .users_servers import UsersServers

if TYPE_CHECKING:
    from tcpclient_testing.harness.judged import Judged

__all__ = ["ServersOfFixtures", "ServersOfWiderFixture"]

__unittest = True

# After this many turns of the loop, what a client in the same loop did has arrived.
_TURNS = 16


class ServersOfFixtures(UsersServers):
    """The servers of one test under pytest, and what is known about the test.

    - `asynchronous` and `blocking` say which of the fixtures the test uses.
    - `running` says that the test function runs: what is reported then is a subtest.
    - `frame` is the frame of the test function, if that has raised.
    - `success` is what pytest reports on a test that passes although it is marked to fail. It is kept until it is
      certain that the test passes.
    """

    implied_disconnect = True

    attaches = False  # it is a section of the report

    def __init__(self) -> None:
        super().__init__()
        self._kind = ""
        self.frame: Optional[FrameType] = None
        self.running = False
        self.success: dict[str, Any] = {}
        self._function: Any = None  # the test function
        self._dropped = DroppedStreams()
        self._began = False
        self._over = False
        self._told_verdict = False  # whether a verdict was reported, even if the test's own call of join() raised it

    def add_server(self, server: Any, *, outlives: bool = False) -> None:
        """Add a server that the test has made, or that `outlives` it; `server` is what the test gets."""
        self._handles[server._judgement] = server
        server._judgement.show_elsewhere()
        self.add(server._judgement, outlives=outlives)

    def left(self, server: Judged, verdict: Optional[BaseException]) -> None:
        super().left(server, verdict)
        if verdict is not None and self.part not in (SET_UP, BODY):
            self._note(None, verdict)
        self._tell_of_dropped_streams()

    @property
    def in_use(self) -> bool:
        """Whether the test has servers, or a factory of servers."""
        return bool(self._kind or self.servers)

    @property
    def is_torn_down(self) -> bool:
        """Whether nothing follows but the rest of the tear-down. Fixtures that block don't tell of themselves."""
        return super().is_torn_down or self._over or (self._began and not self.running)

    def torn_down(self) -> None:
        """All fixtures are torn down."""
        self._tell_of_dropped_streams(over=True)

    # What the hooks and the fixtures find out about the test.

    @property
    def asynchronous(self) -> bool:
        """Whether the test uses our fixtures of asynchronous servers."""
        return self._kind == "asynchronous"

    @property
    def blocking(self) -> bool:
        """Whether the test uses our fixtures of servers in threads."""
        return self._kind == "blocking"

    def uses_asynchronous(self) -> None:
        """Note that the test uses a fixture of asynchronous servers."""
        self._kind = "asynchronous"

    def uses_blocking(self) -> None:
        """Note that the test uses a fixture of servers in threads."""
        self._kind = "blocking"

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
                with self._in_body(function):
                    return run_blocking(self, BODY, function, *args, **kwargs)
            return blocking_body

        @functools.wraps(function)
        async def body(*args: Any, **kwargs: Any) -> Any:
            with self._in_body(function):
                self._take_loop()
                return await run(self, BODY, function, *args, **kwargs)
        return body

    @contextlib.contextmanager
    def _in_body(self, function: Callable[..., Any]) -> Iterator[None]:
        """In the `with` block, `function` runs: the test function, which is the body."""
        self._function = function
        self._began = True
        try:
            with self._dropped:
                yield
        finally:
            self._tell_of_dropped_streams()

    def _tell_of_dropped_streams(self, *, over: bool = False) -> None:
        """Pass on or keep the warnings about streams that the test has dropped, once it is known whether it failed."""
        if self._told_verdict:
            self._dropped.keep()
        elif over or not self.undecided():
            self._dropped.tell()

    def _take_loop(self) -> None:
        """Let the servers run in the running loop, which is the test's. Raise `ScriptError` if one has another loop."""
        loop = events._get_running_loop()
        for server in self._in_loop() if loop is not None else ():
            if not server.finished and server.loop is not None and server.loop is not loop:
                raise ScriptError("the server lives in another event loop than the test: an asynchronous fixture has "
                                  "used it first; give the fixture and the test the same loop_scope")
            server.attach(loop)

    def _in_loop(self) -> list[Judgement]:
        """The asynchronous servers, which run in a loop of the test."""
        return [server for server in self._own() if isinstance(server, Judgement)]

    def stopped(self, error: BaseException) -> Optional[BaseException]:
        """The call of the test has ended with `error`. Return what to report, perhaps `error`, if the body has not."""
        stopped = self.abandon(error)
        if stopped is not None:
            self._over = True
            self._dropped.__exit__()  # the body has not ended, and can't do it
            self._tell_of_dropped_streams()
        return stopped

    async def ended(self, part: str, exc: Optional[BaseException], *, blocking: bool) -> Optional[BaseException]:
        if part == BODY and exc is not None:
            self.frame = frame_of(self._function, exc)
        raised = await super().ended(part, exc, blocking=blocking)
        if raised is not None:
            self.excuse()  # servers that fixtures leave say nothing more
        if part == BODY or (part == SET_UP and raised is not exc):
            self._note(None if raised is exc else raised, exc)
        return raised

    def _note(self, verdict: Optional[BaseException], exc: Optional[BaseException]) -> Optional[BaseException]:
        """Note that the body has ended, with `exc` or without, and with this verdict so far. Return the verdict."""
        self._over = self._over or verdict is not None or exc is not None
        self._told_verdict = self._told_verdict or verdict is not None or isinstance(exc, ExpectationError)
        self._verdicts += [] if verdict is None else [verdict]
        return verdict

    # The verdict.

    async def judge(self, *, blocking: bool) -> Optional[BaseException]:
        if not self.later:
            verdict = await self.leave_all(blocking=blocking)
            return await self._judge_adopted(blocking=blocking) if verdict is None else verdict
        for _ in range(_TURNS if events._get_running_loop() is not None and not blocking else 0):
            await asyncio.sleep(0)
        for server in self.unreported():
            if blocking and server.in_loop:
                continue
            if server.failed_at() < float("inf"):
                return server.error()
            if server.settled():
                try:
                    await server.judge(implied_disconnect=owner_of(server) is not self,
                                       blocking=blocking)
                except Exception as error:  # noqa: BLE001 - the verdict, or the client's own exception
                    return error
        return None

    async def leave_all(self, *, blocking: bool) -> Optional[BaseException]:
        return await self.leave_these(self._own(), blocking=blocking)

    # Set-up and tear-down.

    async def run_fixture_set_up(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run a fixture until it has its value. If a script fails, interrupt it, and raise the verdict."""
        return await run(self, SET_UP, function, *args, **kwargs)

    async def run_fixture_tear_down(self, values: AsyncGenerator[Any, None]) -> bool:
        """Run the rest of a fixture. Return whether it yields another value.

        If a script has failed, interrupt the fixture. What it raises then is a consequence, and is dropped.
        """
        async def rest() -> bool:
            try:
                await values.__anext__()
            except StopAsyncIteration:
                return False
            return True
        return bool(await run(self, TEAR_DOWN, rest))

    def verdict_instead_of(self, exc: BaseException) -> Optional[BaseException]:
        """A fixture has raised `exc` while it was set up. Return what to raise instead, or None."""
        self._over = True
        verdict = self._verdict_instead_of(exc) if isinstance(exc, Exception) else None
        self.excuse()
        return verdict

    def _verdict_instead_of(self, exc: Exception) -> Optional[BaseException]:
        for server in self.live():
            if server.blames(exc) and not isinstance(exc, ExpectationError):
                return self._note(server.error(), exc)
        return None

    def finish(self) -> Optional[BaseException]:
        """Close everything. Return the verdict if none was given before; otherwise None."""
        try:
            if self._began and not self._over:
                self._over = True
                verdict = self._note(self.leave_blocking() or self._leave_in_loop(), None)
                if verdict is not None:
                    self.excuse()
                return verdict
        finally:
            self._close()
            self._tell_of_dropped_streams()
        return None

    def leave_blocking(self) -> Optional[BaseException]:
        """Leave the threaded servers. Return the verdict, which is the earliest failure; None if there is none."""
        return without_waiting(self.leave_all(blocking=True))

    def _leave_in_loop(self) -> Optional[BaseException]:
        servers = [server for server in self.unreported() if server in self._in_loop()]
        for server in servers:
            failure = server.error()
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
        return loop.run_until_complete(self.leave_all(blocking=False))

    def _close(self) -> None:
        loops = {server.loop for server in self._in_loop() if not server.finished}
        self._end(self._own())
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

    def reported_by_subtest(self, exc: BaseException) -> Optional[BaseException]:
        """A subtest has raised `exc`. Return what it reports, perhaps `exc`; None if that was reported before."""
        told = super().reported_by_subtest(exc)
        self._told_verdict = self._told_verdict or isinstance(told, ExpectationError)
        if told is not exc and told is not None:
            self._verdicts.append(told)
        return told

    def is_verdict(self, error: BaseException) -> bool:
        """Whether `error` was raised as the verdict, not by the test function itself."""
        return any(error is verdict for verdict in self._verdicts)

    def shows(self, verdict: ExpectationError) -> bool:
        """Whether the sections of the test's report show the conversation of a verdict."""
        for server in self.servers:
            error = server.error() if server.failed_at() < float("inf") else None
            if error is not None and error.report is verdict.report:
                return True
        return bool(self._kind)

    def undecided(self) -> bool:
        """Whether the test has passed so far, but may still fail when a fixture is torn down."""
        return self._began and not self._over and not all(server.settled() for server in self.live())

    def sections(self, verdict: Optional[ExpectationError]) -> list[tuple[str, str]]:
        """Return the sections of a failed test's report. If it failed with a `verdict`, that shows the script."""
        latest = {self._handles[server]: server for server in self.servers}
        # Of a server that the test has cleared, show the last conversation, and each that failed.
        servers = [server for server in self.servers
                   if latest[self._handles[server]] is server or server.failed_at() < float("inf")]
        lines: list[str] = []
        for server in servers:
            if server.has_conversation():
                if len(servers) > 1:
                    lines.append(repr(self._handles[server]))
                lines += server.conversation_so_far(script=verdict is None or len(servers) > 1)
        sections = [("tcpserver transcript", lines), ("streams that the test left open", self._dropped.kept)]
        return [(title, "\n".join(text)) for title, text in sections if text]


class ServersOfWiderFixture(ServersOfFixtures):
    """The servers of a fixture that serves several tests. They belong to it while it is set up, and torn down."""

    attaches = True  # no report has sections for it

    @property
    def in_charge(self) -> bool:
        """Whether the fixture is running now. It is a coroutine, then; others can't be interrupted."""
        return self.part is not None


async def _some_turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
