"""Runs the parts of a test that has servers: each part may be interrupted, and all servers together give one report.

    set-up -> body: the verdict, if there is one by then -> tear-down, clean-ups -> the verdict

- One test, one report. The earliest failure is the verdict; what is raised after it is a consequence.
- When the test has its report, the other servers give none.
- Each part of a test that is a coroutine is the body while it runs: it is interrupted when a script has failed.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar

from tcpclient_testing.errors import ScriptError

from .exceptions import chain_of, is_control, is_error, parts_of, raise_alone
from .interruption import consequence

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Callable, Protocol

    from tcpclient_testing.engine.steps.base import Step

    class Judged(Protocol):
        """What this module needs from a server, which runs in the test's own loop or in a thread."""

        @property
        def closed(self) -> bool: ...
        def failed_at(self) -> float: ...
        def failed_step(self) -> Optional[Step[Any]]: ...
        def undone(self) -> list[Step[Any]]: ...
        def blames(self, exc: BaseException) -> bool: ...
        def excuse(self, exc: Optional[BaseException] = None) -> None: ...
        def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None: ...
        async def release_body(self) -> bool: ...
        async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False,
                           attach: bool = True) -> Optional[BaseException]: ...
        @property
        def interrupts_body(self) -> bool: ...
        def conclude_part(self, exc: Optional[BaseException], *, interrupted: bool,
                          attach: bool = True) -> Optional[BaseException]: ...

__all__ = ["ServersOfTest"]

__unittest = True

S = TypeVar("S", bound="Judged")


class ServersOfTest(Generic[S]):
    """The servers that a test has made, in that order, and the body of the test while it runs.

    The verdicts of the servers make one report.
    """

    def __init__(self) -> None:
        self.servers: list[S] = []
        self._body: Optional[asyncio.Task[Any]] = None
        self._cleaning = False
        self._told: list[S] = []  # servers whose verdict, or the reason for it, a subtest has reported
        self._cut_short: set[Step[Any]] = set()  # unsatisfied steps of subtests that failed by themselves

    def add(self, server: S) -> None:
        """Add a server that the test has made. If a body is running, the server interrupts it too."""
        self.servers.append(server)
        if self._body is not None:
            server.set_body(self._body, cleaning=self._cleaning)

    def live(self) -> list[S]:
        """Return the servers that were not left yet: first those whose script has failed, earliest failure first."""
        return sorted((server for server in self.servers if not server.closed), key=lambda server: server.failed_at())

    # The parts of a test that are coroutines.

    def begin(self, *, cleaning: bool = False) -> None:
        """Make the current task the body: it is interrupted when a script has failed."""
        body = self._body = asyncio.current_task()
        assert body is not None
        self._cleaning = cleaning
        for server in self.live():
            server.set_body(body, cleaning=cleaning)

    async def release(self) -> bool:
        """Don't interrupt the body any more. Return whether it was interrupted, and by nobody else."""
        self._body = None
        return any([await server.release_body() for server in self.live()])

    def abandon(self, error: RuntimeError) -> Optional[ScriptError]:
        """Running the body has raised `error`: check whether the loop was stopped while the body was running.

        If so, end the body and return the test's report. Return None if the body had ended: then `error` is its own.
        """
        body, self._body = self._body, None
        if body is None or body.done():
            return None
        self.excuse()
        with contextlib.suppress(RuntimeError):  # the loop was closed
            body.cancel()
        stopped = ScriptError("the event loop was stopped or closed while the test ran in it, before the server could "
                              "judge: let the test framework make, stop and close the loop")
        stopped.__cause__ = error
        return stopped

    async def end(self, exc: Optional[BaseException], *, attach: bool = True) -> Optional[BaseException]:
        """The body has ended with `exc`: return the earliest verdict, to be raised instead; None to raise no other."""
        interrupted = await self.release()
        return self.concluded(exc, [
            (server, await server.conclude(exc, interrupted=interrupted and server.failed_at() < float("inf"),
                                           attach=attach))
            for server in self.live()])

    async def run_body(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run the test method. If there is a verdict when it ends, raise that."""
        self.begin()
        try:
            value = await function(*args, **kwargs)
        except BaseException as exc:
            instead = await self.end(exc)
            if instead is None:
                if self.is_reported(exc):
                    return None
                raise
        else:
            instead = await self.end(None)
            if instead is None:
                return value
        return raise_alone(instead)

    async def run_set_up(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Run `asyncSetUp`. If it raises after a script has failed, raise the verdict instead."""
        if self._body is not None:
            return await function(*args, **kwargs)  # called by the test itself, which is the body
        self.begin()
        try:
            value = await function(*args, **kwargs)
        except BaseException as exc:
            instead = await self.end(exc)
            if instead is None:
                raise
        else:
            await self.release()  # raise no verdict here: the test will, and then the tear-down runs
            return value
        return raise_alone(instead)

    async def run_tear_down(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
        """Run a part of the test after its body. Drop what it raises once the script has failed: a consequence."""
        if self._body is not None:
            await function(*args, **kwargs)
            return
        self.begin(cleaning=True)
        try:
            value = function(*args, **kwargs)
            if asyncio.iscoroutine(value) or hasattr(value, "__await__"):
                await value
        except BaseException as exc:
            if not await self.end_of_tear_down(exc):
                raise
        else:
            await self.release()

    async def end_of_tear_down(self, exc: BaseException) -> bool:
        """A part after the body has raised `exc`: return True if that is a consequence; then don't raise it again."""
        interrupted = await self.release()
        if not isinstance(exc, asyncio.CancelledError):
            return isinstance(exc, Exception) and self.is_consequence(exc)
        hidden = consequence(exc) if interrupted else None
        if hidden is not None:
            self.is_consequence(hidden)
        return interrupted

    # Subtests: each exception of a subtest is reported separately.

    @contextlib.contextmanager
    def subtest(self) -> Iterator[None]:
        """Run a subtest. If it raises after a script has failed, raise the verdict; that is the test's report.

        If the subtest fails by itself, that failure also counts as the report on the steps that it has written and that
        are not satisfied.
        """
        before = set(self._undone())
        try:
            yield
            return
        except BaseException as exc:
            told = self.reported_by_subtest(exc)
            if told is exc:
                if is_error(exc) and not is_control(exc):
                    self._cut_short |= set(self._undone()) - before
                raise
            if told is None:
                return
        raise_alone(told)

    def reported_by_subtest(self, exc: BaseException, *, attach: bool = True) -> Optional[BaseException]:
        """A subtest has raised `exc`: return the exception to report, perhaps `exc`; None if it was reported before.

        If `exc` stands and a script has failed, the conversation is attached to it, unless ``attach=False``.
        """
        interrupted = isinstance(exc, asyncio.CancelledError) and \
            any(server.interrupts_body for server in self.live())
        if not (is_error(exc) or interrupted) or is_control(exc):
            return exc
        self._tell_of_cut_short()
        failed = [server for server in self.unreported() if server.failed_at() < float("inf")]
        if not failed:
            return None if self.is_reported(exc) else exc
        instead = self.concluded(exc, [(server, server.conclude_part(exc, interrupted=interrupted, attach=attach))
                                       for server in failed])
        self._told += failed
        return exc if instead is None else instead

    def _undone(self) -> list[Step[Any]]:
        """Return the unsatisfied steps of all servers that may still give a verdict."""
        return [step for server in self.unreported() for step in server.undone()]

    def _tell_of_cut_short(self, *, ended: bool = False) -> None:
        """Mark servers as reported if they failed at a step of a subtest that was cut short.

        If the test has `ended`, also mark the servers on which such a step is still unsatisfied.
        """
        for server in self.unreported() if self._cut_short else ():
            if server.failed_step() in self._cut_short or \
                    (ended and any(step in self._cut_short for step in server.undone())):
                self._told.append(server)
                server.excuse()

    def unreported(self) -> list[S]:
        """Return those servers of `live` whose verdict no subtest has reported."""
        return [server for server in self.live() if server not in self._told]

    def is_reported(self, exc: BaseException) -> bool:
        """Whether `exc` results from a verdict that a subtest has reported. A failure of the test's own does not."""
        self._tell_of_cut_short()
        if not any(not server.closed for server in self._told):
            return False
        from tcpclient_testing.report.report import ExpectationError  # here, since only a failure needs it
        comes_of_it = (ExpectationError, OSError, EOFError, asyncio.CancelledError)
        return all(any(isinstance(each, comes_of_it) for each in chain_of(part)) for part in parts_of(exc))

    # Which exception is raised in the end.

    def concluded(self, exc: Optional[BaseException],
                  verdicts: Sequence[tuple[S, Optional[BaseException]]]) -> Optional[BaseException]:
        """Return the exception to raise instead of `exc`, with which the body ended: the earliest verdict, or None.

        `verdicts` has, for each server of `live`, what it returned as the exception to raise instead. If there is a
        verdict, or an `exc`, the test has its report.
        """
        self._tell_of_cut_short(ended=exc is None)
        instead = next((verdict for server, verdict in verdicts
                        if verdict is not None and server not in self._told), None)
        if exc is not None or instead is not None:
            self.excuse()
        return instead

    def is_consequence(self, exc: BaseException) -> bool:
        """Whether `exc`, raised outside the body, came after a script had failed; then that report shows it.

        Otherwise `exc` is the test's report, and the conversation is attached to it.
        """
        # A list, not any(): every server must record `exc`, whether its verdict was given already or not.
        if [server for server in self.servers if server.blames(exc)]:
            return True
        self.excuse(exc)
        return False

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """Let no server give a verdict any more, since the test has its report: `exc`, if given."""
        for server in self.live():
            server.excuse(exc)
