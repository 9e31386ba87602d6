"""The servers of one test: their verdicts make one report.

- The earliest failure is the verdict; what is raised after it is a consequence.
- If that server has only waited in vain, the cause may be that the client is stuck since it has misbehaved towards
  another server: then that one gives the verdict, if it shows.
- When the test has its report, the other servers give none.

What is decided when a part of the test ends is written once, as coroutines. Code that blocks runs them by
`without_waiting`: with ``blocking=True`` nothing in them waits for a loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any, Optional, TypeVar

from tcpclient_testing.errors import ScriptError

from .exceptions import is_control, is_error, is_verdict, raise_alone
from .in_flight import carried_by
from .interruption import consequence
from .subtests import SubtestReports
from .tracebacks import hide_our_frames

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Mapping, Sequence

    from .judged import Judged

__all__ = ["BODY", "SET_UP", "TEAR_DOWN", "ServersOfTest", "owner_of", "without_waiting"]

__unittest = True

T = TypeVar("T")

#: The parts of a test. They differ in what is raised when a script has failed: see `ServersOfTest.ended`.
SET_UP, BODY, TEAR_DOWN = "set-up", "body", "tear-down"

_owners: weakref.WeakKeyDictionary[Judged, weakref.ref[ServersOfTest]] = weakref.WeakKeyDictionary()


def owner_of(server: Judged) -> Optional[ServersOfTest]:
    """Return the servers of the test that has adopted a server, if one has: see `ServersOfTest.adopt`."""
    owner = _owners.get(server)
    return None if owner is None else owner()


def without_waiting(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine that waits for no loop, and return its result."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    coroutine.close()
    raise RuntimeError("a coroutine waits, where only blocking is possible")


def _awaited(exc: Optional[BaseException]) -> bool:
    """Whether `exc` is a verdict that the body itself has waited for. Then it may not have written its whole script."""
    return is_verdict(exc) and not exc.report.given_on_leaving  # type: ignore[union-attr]


class _Ending:
    """How a test ends.

    - `leaving` says that its servers are being left.
    - `judged` is the task that waits for the verdict.
    - `broken_off` says that the loop has ended while the body was running.
    """

    __slots__ = ("leaving", "judged", "broken_off")

    def __init__(self) -> None:
        self.leaving = self.broken_off = False
        self.judged: Optional[asyncio.Task[Any]] = None


class ServersOfTest:
    """The servers that a test has made, in that order, and the body of the test while it runs."""

    #: Whether a script that does not say how its connection ends is taken to end with an `expect_disconnect()`.
    implied_disconnect = False

    #: Whether the conversation is attached to an exception that stands. If not, the caller shows it.
    attaches = True

    def __init__(self) -> None:
        self.servers: list[Judged] = []
        self._outliving: list[Judged] = []
        self._ending = _Ending()
        self._subtests = SubtestReports()
        self._body: Optional[asyncio.Task[Any]] = None
        self.part: Optional[str] = None  # the part of the test that runs
        self._verdicts: list[BaseException] = []  # what was raised as the verdict outside of the body, or by us

    def add(self, server: Judged, *, outlives: bool = False) -> None:
        """Add a server that the test has made. If a body is running, the server interrupts it too.

        If it `outlives` the test, it is cleared at the end, and not closed.
        """
        if outlives:
            self._outliving.append(server)
            if owner_of(server) is self:
                self._disown(server)  # the test has opened it by itself, for others, too
        self.servers.append(server)
        if self._body is not None:
            server.set_body(self._body, cleaning=self.part == TEAR_DOWN)
        self._follow(server)

    def _follow(self, server: Judged) -> None:
        if owner_of(server) is not self:
            server.follow(self._go_on)
            return
        go_on = weakref.WeakMethod(self._go_on)  # the test may be gone before the server

        def tell(cleared: Judged, successor: Judged) -> None:
            method = go_on()
            if method is not None:
                method(cleared, successor)
        server.follow(tell)

    def _go_on(self, cleared: Judged, server: Judged) -> None:
        """The test has cleared one of its servers: what that does from then on belongs to the test, too.

        A server that the test has opened by itself, and clears in its tear-down, is left to others.
        """
        if owner_of(cleared) is self:
            if not self.is_torn_down:
                self._own_by(server)
        elif not self._ending.leaving and cleared in self.servers:
            self.add(server, outlives=cleared in self._outliving)

    def live(self) -> list[Judged]:
        """Return the servers that may still give a verdict: first those that have failed, earliest failure first."""
        return sorted((server for server in self.servers if not server.finished), key=lambda server: server.failed_at())

    def unreported(self) -> list[Judged]:
        """Return those servers of `live` whose verdict no subtest has reported."""
        return self._subtests.unreported(self.live())

    # Servers that the test opens by itself, and leaves by itself.

    def adopt(self, server: Judged, handle: Any) -> None:
        """Take a server that is being opened, and is `handle` for the test; not if another task opens it."""
        if self._body is None or events._get_running_loop() is None or asyncio.current_task() is self._body:
            self._own_by(server)

    def _own_by(self, server: Judged) -> None:
        _owners[server] = weakref.ref(self)
        self.add(server)

    @property
    def in_charge(self) -> bool:
        """Whether the test, to which adopted servers belong, is running now."""
        return True

    @property
    def is_torn_down(self) -> bool:
        """Whether nothing follows but the rest of the tear-down."""
        return self.part == TEAR_DOWN

    def let_go(self) -> None:
        """The test is over: adopted servers that it has not left don't belong to it any more."""
        for server in [each for each in self.servers if owner_of(each) is self]:
            self._disown(server)

    def _disown(self, server: Judged) -> None:
        del _owners[server]
        self.servers.remove(server)

    def left(self, server: Judged, verdict: Optional[BaseException]) -> None:
        """An adopted server has been left, and raises this verdict: after the body, that is the test's report."""
        if verdict is not None and self.part not in (SET_UP, BODY):
            self._verdicts.append(verdict)
            self.excuse()

    def attaches_to(self, server: Judged) -> bool:
        """Whether an exception that leaves the block of an adopted server shows its conversation."""
        return self.attaches

    # The body.

    @contextlib.contextmanager
    def in_part(self, part: str) -> Iterator[None]:
        """In the `with` block, a part of the test runs."""
        before, self.part = self.part, part
        try:
            yield
        finally:
            self.part = before

    @property
    def has_body(self) -> bool:
        """Whether a part of the test runs that is a coroutine."""
        return self._body is not None

    def begin(self, *, cleaning: bool = False) -> None:
        """Make the current task the body: it is interrupted when a script has failed. Without a loop, do nothing."""
        self.hear_threads()
        if events._get_running_loop() is None:
            return  # the loop is trio's
        body = asyncio.current_task()
        if body is None:
            return  # a framework runs the test without a task
        self._body = body
        for server in self.live():
            server.set_body(body, cleaning=cleaning)

    def hear_threads(self) -> None:
        """A part of the test begins: let the servers hear of exceptions that end threads."""
        for server in self.servers:
            server.hear_threads()

    async def release(self) -> bool:
        """Don't interrupt the body any more. Return whether it was interrupted, and by nobody else."""
        self._body = None
        return any([await server.release_body() for server in self.servers])

    def cut_off(self, exc: Optional[BaseException] = None) -> bool:
        """Running the loop has raised an exception: check whether it came while the body was running, from elsewhere.

        If so, cancel the body. No server gives a verdict then: the exception is the test's report, and `exc`, if given,
        shows the conversation.
        """
        body, self._body, self._ending.judged = self._body or self._ending.judged, None, None
        if body is None or body.done():
            return False
        self._ending.broken_off = True
        self.excuse(exc)
        with contextlib.suppress(RuntimeError):  # the loop was closed
            body.cancel()
        return True

    def abandon(self, error: BaseException) -> Optional[BaseException]:
        """Running the body has raised `error`: check whether the loop has ended while the body was running.

        If so, end the body and return the test's report: `error`, if a signal handler has raised it while the loop
        waited (that of pytest-timeout does), or else an error that says that the loop was stopped. Return None if the
        body had ended: then `error` is its own.
        """
        stops = isinstance(error, RuntimeError)
        if not self.cut_off(carried_by(error) if self.attaches and not stops else None):
            return None
        if not stops:
            return carried_by(error)
        stopped = ScriptError("the event loop was stopped or closed while the test ran in it, before the server could "
                              "judge: let the test framework make, stop and close the loop")
        stopped.__cause__ = error
        return stopped

    # Which exception is raised in the end.

    async def ended(self, part: str, exc: Optional[BaseException], *, blocking: bool) -> Optional[BaseException]:
        """A part of the test has ended, with `exc` or without: return what is to be raised; None for nothing.

        - After a set-up or a body, an exception that is a consequence gives way to the verdict.
        - A body is followed by the verdict, if there is one by then.
        - What a tear-down raises after a script has failed is a consequence: the report shows it.
        """
        if self._ending.broken_off and part == BODY:
            return None if isinstance(exc, asyncio.CancelledError) else exc  # the test has its report; nobody waits
        self._ending.judged = self._body
        try:
            return await self._raised_after(part, exc, blocking)
        finally:
            self._ending.judged = None

    async def _raised_after(self, part: str, exc: Optional[BaseException], blocking: bool) -> Optional[BaseException]:
        self._look_back(exc)
        interrupted = False if blocking else await self.release()
        if part == TEAR_DOWN:
            if isinstance(exc, (KeyboardInterrupt, SystemExit)):
                self.excuse()
                return exc
            if any(exc is verdict for verdict in self._verdicts):
                return exc
            return None if exc is not None and self._is_dropped(exc, interrupted) else exc
        if exc is None and part == SET_UP:
            return None  # the test raises the verdict; then the tear-down runs
        if len(self.servers) > 1 and not _awaited(exc):
            await self._look_for_cause(self.live(), blocking=blocking)
        instead = self._concluded(exc, [
            (server, await server.conclude(exc, interrupted=interrupted and server.failed_at() < float("inf"),
                                           attach=self.attaches, blocking=blocking))
            for server in self.live()])
        if exc is None:
            return await self.judge(blocking=blocking) if instead is None else instead
        if instead is None and not self._subtests.explain(exc, self.live()):
            return exc
        return instead

    def _look_back(self, exc: Optional[BaseException]) -> None:
        """If `exc` is an error of a client that had blocked the loop until now, its server's script has failed."""
        if exc is not None and is_error(exc) and not is_control(exc):
            for server in self.live():
                server.look_back(exc)

    def _is_dropped(self, exc: BaseException, interrupted: bool) -> bool:
        """Whether `exc`, which a tear-down has raised, is a consequence."""
        if not isinstance(exc, asyncio.CancelledError):
            return isinstance(exc, Exception) and self.is_consequence(exc)
        hidden = consequence(exc) if interrupted else None
        if hidden is not None:
            self.is_consequence(hidden)
        return interrupted

    def _concluded(self, exc: Optional[BaseException],
                   verdicts: Sequence[tuple[Judged, Optional[BaseException]]]) -> Optional[BaseException]:
        """Return the exception to raise instead of `exc`, with which the body ended: the earliest verdict, or None.

        `verdicts` has, for each server of `live`, what it returned as the exception to raise instead. If there is a
        verdict, or an `exc`, the test has its report.
        """
        self._subtests.tell_of_consequences(self.live(), ended=exc is None)
        known = self._subtests.unreported([server for server, _ in verdicts])
        instead = next((verdict for server, verdict in verdicts if verdict is not None and server in known), None)
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

    # Leaving.

    async def judge(self, *, blocking: bool) -> Optional[BaseException]:
        """The body has ended well: return the verdict, as far as it can be given now. By default, all comes later."""
        return None

    async def leave_all(self, *, blocking: bool) -> Optional[BaseException]:
        """Leave all servers. Return the verdict, which is the earliest failure; None if there is none.

        With `blocking`, servers that run in a loop of the test are left out.
        """
        return await self.leave_these(self.servers, blocking=blocking)

    async def leave_these(self, servers: Sequence[Judged], *, blocking: bool) -> Optional[BaseException]:
        """Leave some of the servers, as `leave_all` does."""
        live = [server for server in self.live() if server in servers and not (blocking and server.in_loop)]
        try:
            for server in live:
                await self._leave(server, blocking=blocking)
        except Exception as error:  # noqa: BLE001 - the caller raises it, or the verdict
            await self._look_for_cause(live, blocking=blocking)
            first = min(self._subtests.unreported(live), key=lambda server: server.failed_at(), default=None)
            verdict = None if first is None or first.finished else first.error()
            return error if verdict is None else verdict
        finally:
            self._end(live)
        return None

    async def leave(self, server: Judged, *, blocking: bool) -> None:
        """Leave one of several servers, and raise the verdict, which may be another server's: see `_look_for_cause`."""
        try:
            if not blocking and events._get_running_loop() is not None:
                self._ending.judged = asyncio.current_task()
            await self._leave(server, blocking=blocking)
            return
        except Exception:
            if server.waited_until() is None:
                raise
            others = [other for other in self.unreported() if other is not server]
            await self._look_for_cause([server, *others], blocking=blocking)
            first = min(others, key=lambda other: other.failed_at(), default=server)
            if first.failed_at() >= server.failed_at():
                raise
        finally:
            self._ending.judged = None
        verdict = first.error()
        assert verdict is not None
        raise_alone(verdict)

    async def _leave(self, server: Judged, *, blocking: bool) -> None:
        """Leave one of the servers, which closes it; clear it, if it outlives the test. Raise its verdict."""
        end = server.clear if server in self._outliving else server.leave
        self._ending.leaving = True
        try:
            await end(implied_disconnect=self.implied_disconnect, blocking=blocking)
        finally:
            self._ending.leaving = False

    async def _look_for_cause(self, servers: Sequence[Judged], *, blocking: bool) -> None:
        """If the first of these servers that failed has only waited in vain, let the others look for the cause."""
        first = min(servers, key=lambda server: server.failed_at(), default=None)
        until = None if first is None else first.waited_until()
        if until is None:
            return
        for server in servers:
            if server is not first and server.failed_at() == float("inf"):
                await server.look_for_cause(until, blocking=blocking)

    def abandon_all(self) -> None:
        """Close all servers, since an exception is on its way that nothing may hide."""
        with contextlib.suppress(AssertionError, ScriptError):
            self.close()

    def close_in_loop(self) -> None:
        """Close what Ctrl-C has left of the servers in the test's loop, while the loop can still close transports."""
        self._end([server for server in self.servers if server.in_loop and server not in self._outliving])

    def close(self) -> None:
        """Close all servers at once, without a verdict. Those that outlive the test begin another script."""
        self._end(self.servers)

    def _end(self, servers: list[Judged]) -> None:
        self._ending.leaving = True
        try:
            for server in servers:
                if server in self._outliving:
                    server.renew()
                else:
                    server.close()
        finally:
            self._ending.leaving = False

    # Subtests: each exception of a subtest is reported separately.

    @contextlib.contextmanager
    def subtest(self) -> Iterator[None]:
        """Run a subtest. If it raises after a script has failed, raise the verdict; that is the test's report.

        If the subtest fails by itself, that failure also counts as the report on the steps that it has written. The
        conversations on the servers that it has used are attached to it.
        """
        before = {server: (server.written(), server.has_happened()) for server in self.unreported()}
        try:
            yield
            return
        except BaseException as exc:
            told = self.reported_by_subtest(exc)
            if told is exc:
                if isinstance(exc, Exception) or is_error(exc):
                    self._cut_short(exc, before)
                hide_our_frames(exc)
                raise
            if told is None:
                return
        raise_alone(told)

    def reported_by_subtest(self, exc: BaseException) -> Optional[BaseException]:
        """A subtest has raised `exc`: return the exception to report, perhaps `exc`; None if it was reported before.

        If `exc` stands and a script has failed, the conversation is attached to it, if the servers attach it at all.
        """
        interrupted = isinstance(exc, asyncio.CancelledError) and \
            any(server.interrupts_body for server in self.live())
        if not (is_error(exc) or interrupted) or is_control(exc):
            return exc
        self._look_back(exc)
        self._subtests.tell_of_consequences(self.live())
        failed = [server for server in self.unreported() if server.failed_at() < float("inf")]
        if not failed:
            return None if self._subtests.explain(exc, self.live()) else exc
        instead = self._concluded(exc, [
            (server, without_waiting(server.conclude(exc, interrupted=interrupted, attach=self.attaches,
                                                     blocking=True)))
            for server in failed])
        self._subtests.tell(failed)
        for server in failed:
            server.spare_body(self._progress)
        return exc if instead is None else instead

    def _progress(self) -> int:
        """Count what has happened on the servers whose verdict no subtest has reported."""
        return sum(server.has_happened() for server in self.unreported())

    def _cut_short(self, exc: BaseException, before: Mapping[Judged, tuple[Mapping[Any, int], int]]) -> None:
        """A subtest is ended by `exc`, its own report. `before` says what each server had when the subtest began."""
        for server in self.unreported():
            if server.failed_at() < float("inf"):
                continue
            had, happened = before.get(server, ({}, 0))
            steps = server.written_since(had)
            if self.attaches and not is_control(exc) and (steps or server.has_happened() > happened):
                without_waiting(server.show_conversation(exc, blocking=True))
            self._subtests.cut_short(server, steps)

    def is_reported(self, server: Judged) -> bool:
        """Whether a subtest has reported what the verdict of this server would tell."""
        self._subtests.tell_of_consequences([server])
        return not self._subtests.unreported([server])
