"""What a server has to say in the report of a test: whether its script has failed, and what is left when it is left.

The harness asks this when a part of the test ends, and when the server is left. The server itself only hands it over.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import weakref
from collections.abc import Collection
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.process.forking import renew

if TYPE_CHECKING:
    import socket
    from collections.abc import Container, Mapping, Sequence

    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Failure
    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.harness.blame import Blame
    from tcpclient_testing.harness.judged import Judged
    from tcpclient_testing.report.report import ExpectationError

    from .absent import AbsentClient
    from .leaving import FinalCheck
    from .lifetime import Lifetime

    BeginAnew = Callable[[list[socket.socket], Optional[asyncio.AbstractEventLoop]], "Judgement"]

__all__ = ["Findings", "Judgement"]

__unittest = True


class Findings:
    """What can be said about a script at any time, from any thread: whether it has failed, and what is not done."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def loop(self) -> Optional[asyncio.AbstractEventLoop]:
        """The loop that the server runs in; None before it has one."""
        return self._runtime.context.loop if self._runtime.context.attached else None

    @property
    def _failure(self) -> Optional[Failure]:
        return self._runtime.context.environment.verdict

    def error(self) -> Optional[ExpectationError]:
        """Return a new exception that says why the script has failed; None if it has not."""
        return None if self._failure is None else self._runtime.host.error()

    def failed_at(self) -> float:
        """Return when the script failed, in seconds of the loop's clock; infinity if it has not.

        It is for comparing with other servers: see `Failure.order`.
        """
        failure = self._failure
        return float("inf") if failure is None else failure.order

    def waited_until(self) -> Optional[float]:
        """Return until when the server has waited, if its script has failed only since it waited in vain; else None."""
        failure = self._failure
        return failure.now if failure is not None and failure.in_vain else None

    def failed_in(self, steps: Container[Step[Any]]) -> bool:
        """Whether the script failed at one of these steps or, at no step, on a connection that has one of them."""
        failure = self._failure
        if failure is None or failure.step is not None:
            return failure is not None and failure.step in steps
        return any(step in steps for each in self._runtime.session.connections.all
                   if each.number == failure.number for step in each.script.steps)

    def _is_verdict(self, exc: BaseException) -> bool:
        """Whether `exc` says why the script has failed."""
        report = getattr(exc, "report", None)
        return self._failure is not None and getattr(report, "failure", None) is self._failure

    def undone(self) -> list[Step[Any]]:
        """Return the steps that are not satisfied."""
        return [step for conversation in self._runtime.session.connections.all
                for step in conversation.script.steps[conversation.script.cursor.position:]]

    def follows(self, servers: Sequence[Judged]) -> bool:
        """Whether the script failed only because that of one of these servers had failed."""
        return False

    def written(self) -> dict[Conversation, int]:
        """Return how many steps the script of each connection has."""
        return {each: len(each.script.steps) for each in self._runtime.session.connections.all}

    def written_since(self, before: Mapping[Conversation, int]) -> list[Step[Any]]:
        """Return the steps that were written since `written` has returned `before`."""
        return [step for each in self._runtime.session.connections.all
                for step in each.script.steps[before.get(each, 0):]]

    def settled(self) -> bool:
        """Return whether all is done: every step is satisfied, and every client has ended its stream."""
        session = self._runtime.session
        return session.complete and all(conversation.inbox.ended for conversation in session.conversations)

    @property
    def closed(self) -> bool:
        """Whether the server was closed: its block, or its test, has ended."""
        return self._runtime.closed

    @property
    def interrupts_body(self) -> bool:
        """Whether the body of the test was interrupted, and is still running."""
        body = self._runtime.host.body
        return body is not None and body.interrupted

    def spare_body(self, progress: Callable[[], int]) -> None:
        """A subtest has reported the verdict: interrupt the body only when it is stuck; see `Body.spare`."""
        body = self._runtime.host.body
        if body is not None:
            body.spare(progress)

    def look_back(self, exc: BaseException) -> None:
        """The test has just raised `exc`: find out whether a client had blocked the server's loop until then."""

    def blames(self, exc: BaseException) -> bool:
        """Whether the script had failed before `exc` was raised, after the body. If so, the report shows `exc`."""
        return self._blame.blames(exc)

    @property
    def _blame(self) -> Blame:
        """Tells causes from consequences; imported when something has been raised."""
        from tcpclient_testing.harness.blame import Blame
        return Blame(self._runtime.host)

    def hear_threads(self) -> None:
        """A part of the test begins: hear of exceptions that end threads."""
        self._runtime.host.hear_threads()

    # For reports.

    def show_elsewhere(self) -> None:
        """The caller shows the conversation of a test that has failed: it need not be attached to an exception."""
        self._runtime.host.show_elsewhere()

    def has_happened(self) -> int:
        """Return how many entries the transcript has."""
        return len(self._runtime.transcript)

    def has_conversation(self) -> bool:
        """Whether there is anything to show: a client has connected, or something has happened."""
        runtime = self._runtime
        return bool(len(runtime.transcript)) or any(each.inbox.accepted for each in runtime.session.connections.all)

    def conversation_so_far(self, *, script: bool = True) -> list[str]:
        """Return the transcript as a report shows it, in lines. If `script`, the state of each step comes first."""
        from tcpclient_testing.report.report import conversation_text
        from tcpclient_testing.transcript.text import lines
        runtime = self._runtime
        return conversation_text(runtime.session, runtime.transcript) if script else lines(runtime.transcript)


class Judgement(Findings):
    """How the test of one server ends. It runs in the server's loop.

    - `lifetime` attaches the server to its loop, `check` judges what is left at the end.
    - `cancel_body` says whether to interrupt the body of the test when the script has failed.
    - `begin_anew` lets the server begin another script, on these listening sockets and in this loop, and returns its
      judgement.
    """

    #: Whether the server runs in a loop of the test: then it can't be left by code that blocks.
    in_loop = True

    def __init__(self, runtime: Runtime, lifetime: Lifetime, check: FinalCheck, *, cancel_body: bool,
                 begin_anew: BeginAnew) -> None:
        super().__init__(runtime)
        self.cancels_body = cancel_body
        self._lifetime = lifetime
        self._check = check
        self._begin_anew = begin_anew
        self._followers: list[Callable[[Judgement, Judgement], None]] = []
        self._judged = False
        self._reported = False
        self._over = False
        _open.add(self)

    @property
    def finished(self) -> bool:
        """Whether the server was closed, and has no failure that the test has not reported."""
        return self._runtime.closed and (self._has_report or self._failure is None)

    @property
    def _has_report(self) -> bool:
        """Whether the test has its report: nothing more is raised."""
        return self._reported or self._runtime.host.told

    @property
    def excused(self) -> bool:
        """Whether the server gives no verdict any more, since the test has its report."""
        return self._has_report

    def let_go_in_child(self) -> None:
        """In a forked child: the server and its verdict are the parent's, so nothing of it may be touched here."""
        self._reported = self._over = True
        self._runtime.abandon()
        self._check.close()
        context = self._runtime.context
        if context.attached and not context.threaded:
            renew(context.loop)

    def attach(self, loop: Optional[asyncio.AbstractEventLoop]) -> None:
        """Run in `loop`, if the server has no loop yet."""
        self._lifetime.attach(loop)

    # The body.

    def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None:
        """Make `task` the body of the test: it is interrupted when the script has failed.

        With `cleaning`, the task cleans up after other parts of the test, and gets more time before the interruption.
        A task of another loop than the server's is left alone.
        """
        context = self._runtime.context
        if self.cancels_body and context.attached and context.loop is task.get_loop():
            self._runtime.host.begin_body(task, cleaning=cleaning)

    def look_back(self, exc: BaseException) -> None:
        self._runtime.look_back(exc)

    async def release_body(self) -> bool:
        """The body has ended: don't interrupt it any more. Return whether it was interrupted, and by nobody else."""
        body = self._runtime.host.take_body()
        return body is not None and await body.release()

    async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False, attach: bool = True,
                       blocking: bool = False) -> Optional[BaseException]:
        """A part of the test has ended with `exc`, or without: return what is to be raised instead; None for nothing.

        If there is an exception, it is the test's report: the server gives no verdict any more. `interrupted` says that
        the library has interrupted that part, and nobody else. If `exc` stands, the conversation is attached to it,
        unless ``attach=False``: then the caller shows the conversation.
        """
        instead: Optional[BaseException] = None
        if self._failure is not None and not self._has_report and (exc is None or self._is_verdict(exc)):
            host = self._runtime.host
            instead = host.cause_of_end_by_now() if blocking else await host.cause_of_end()
        if instead is not None:
            pass  # the client has failed by itself, beside this part of the test
        elif exc is not None:
            instead = self._blame.instead_of(exc, interrupted=interrupted, attach=attach)
        elif not self._has_report:
            instead = self.error()
        if exc is not None or instead is not None:
            self._reported = True
        return instead

    async def show_conversation(self, exc: BaseException, *, blocking: bool = False) -> None:
        """Attach the conversation to `exc`, the report on a part of the test. The verdict comes all the same."""
        self._blame.show_in(exc)

    def forgive(self, steps: Container[Step[Any]]) -> None:
        """Judge no more how a client's stream was closed, if the last step of its script is one of these."""
        self._check.forgive(steps)

    async def look_for_cause(self, until: float, *, blocking: bool = False) -> None:
        """Another server has waited in vain `until` then: fail if a client had done something that no step explains.

        If the client is stuck because of that, this is the cause.
        """
        runtime = self._runtime
        if self._reported or runtime.closed or runtime.context.environment.over:
            return
        from tcpclient_testing.engine.session.leftovers import judge_earlier
        connections = runtime.session.connections
        judge_earlier(connections.all, connections.expected, until)
        if runtime.context.environment.over:
            runtime.context.note("another server of this test has waited for the client in vain")
        runtime.context.perform()

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """Give no verdict any more, since the test has its report. Attach the conversation to its exception `exc`."""
        if exc is not None and not self._has_report:
            self._blame.instead_of(exc, interrupted=False)
        self._reported = True

    # Leaving.

    async def join(self, *, final: bool = False) -> None:
        """Wait until every step added so far is satisfied; if `final`, then check what is left. Raise the verdict."""
        if self._failure is not None and not self._runtime.closed:
            await self._raise_verdict()
        self._lifetime.check_usable()
        runtime = self._runtime
        while True:
            # Ignore steps that are added meanwhile, unless this is the final check.
            scripts = [conversation.script for conversation in runtime.session.connections.all]
            for step in [script.steps[-1] for script in scripts if not script.complete]:
                await runtime.host.join(step)
            if not final or runtime.session.complete:
                break
        await self._check.look_at_streams(final=final)
        if final:
            await self._check.settle()
        await self._raise_verdict()
        if final:
            if runtime.cleared and not self._judged:
                raise runtime.host.error()
            self._judged = True

    async def judge(self, *, implied_disconnect: bool = False, blocking: bool = False,
                    idle: Optional[Callable[[], Collection[threading.Thread]]] = None) -> None:
        """Do what ``join(final=True)`` does, when the test is over: then a client may be missed at once.

        With `implied_disconnect`, a script that does not say how its connection ends is taken to end with an
        `expect_disconnect()`. For a server in a thread, `idle` returns those threads that can't be the client.
        """
        absent = self._look_for_client(idle)
        try:
            if implied_disconnect:
                await self.join()
                await self._check.imply_disconnects()
            await self.join(final=True)
        finally:
            if absent is not None:
                absent.stop()

    async def leave(self, *, implied_disconnect: bool = False, blocking: bool = False,
                    idle: Optional[Callable[[], Collection[threading.Thread]]] = None) -> None:
        """Wait for the rest of the script, raise the verdict unless the test has its report, and close everything."""
        await self._leave(self.close, implied_disconnect, idle)

    async def clear(self, *, implied_disconnect: bool = False, blocking: bool = False,
                    idle: Optional[Callable[[], Collection[threading.Thread]]] = None) -> None:
        """Do what `leave` does, but keep the server: it begins another script, whatever is raised."""
        await self._leave(self.renew, implied_disconnect, idle)

    async def _leave(self, end: Callable[[], None], implied_disconnect: bool,
                     idle: Optional[Callable[[], Collection[threading.Thread]]]) -> None:
        try:
            if self._runtime.running and not self._has_report:
                await self._raise_verdict()
                if not self._runtime.closed:
                    self._lifetime.attach()
                    await self.judge(implied_disconnect=implied_disconnect, idle=idle)
        except Exception:
            self._reported = True
            raise
        finally:
            handlers = None if self._runtime.closed else self._runtime.handlers
            end()
            if handlers is not None:
                await handlers.cancelled()

    def _look_for_client(self, idle: Optional[Callable[[], Collection[threading.Thread]]]) -> Optional[AbsentClient]:
        """If a client is missing, begin to look whether anything could still be it; None if it may be anybody."""
        runtime = self._runtime
        expected, accepted = runtime.session.connections.expected, runtime.session.environment.accepted
        if runtime.context.outsiders or not runtime.context.attached or accepted >= expected:
            return None
        from tcpclient_testing.aio.process.life import idle_workers

        from .absent import AbsentClient
        absent = AbsentClient(runtime, partial(idle_workers, runtime.context.loop) if idle is None else idle)
        absent.start()
        return absent

    def leave_at_once(self) -> bool:
        """Do what `leave` does if nothing has to be waited for: the script is done, clients and the body are gone.

        Return False, and do nothing, if `leave` has to wait for something.
        """
        runtime = self._runtime
        if runtime.forked:
            return True
        if not runtime.context.attached or runtime.host.body is not None or not self._check.is_ready():
            return False
        try:
            self._check.settle_now()
            if not self._has_report:
                self._raise_failure()
        except Exception:
            self._reported = True
            raise
        finally:
            self.close()
        return True

    async def _raise_verdict(self) -> None:
        """Raise the verdict, if there is one; or the exception of a client that has failed by itself, and led to it."""
        cause = None if self._failure is None else await self._runtime.host.cause_of_end()
        if cause is not None:
            from tcpclient_testing.harness.exceptions import raise_alone
            raise_alone(cause)
        self._raise_failure()

    def raise_unreported(self) -> None:
        """Raise the verdict, unless the test has its report."""
        if not self._has_report:
            self._reported = True
            self._raise_failure()

    def _raise_failure(self) -> None:
        error = self.error()
        if error is not None:
            raise error

    def abandon(self) -> None:
        """Nobody can stop the server any more: close it if its loop is closed; else the loop's other code goes on."""
        if self.loop is None or self.loop.is_closed():
            self.close()
        else:
            self._check.close()

    def close(self) -> None:
        """Close everything at once, whatever the clients do, without a verdict."""
        if not self._over:
            self._runtime.close()
            self._check.close()
            _open.discard(self)
            self._over = True  # now: if Ctrl-C has interrupted this, another call does the rest
            self._followers.clear()  # breaks a cycle: each of them refers to this

    def renew(self) -> None:
        """Close every connection at once, without a verdict, and let the server begin another script.

        If the server has no address any more, close it.
        """
        runtime, loop = self._runtime, self.loop
        if runtime.closed:
            return
        if not runtime.running or (loop is not None and loop.is_closed()):
            self.close()
            return
        listeners: list[socket.socket] = []
        try:
            listeners = runtime.clear()
            self._check.close()
            successor = self._begin_anew(listeners, loop) if listeners else None
        except BaseException:  # Ctrl-C
            for listener in listeners:
                listener.close()
            raise
        self._over = True
        _open.discard(self)
        if successor is not None:
            followers, self._followers = self._followers, []
            for tell in followers:
                tell(self, successor)

    def follow(self, tell: Callable[[Judgement, Judgement], None]) -> None:
        """Call `tell` with this and with the next judgement when the server begins another script."""
        self._followers.append(tell)

    def let_go(self) -> None:
        """The server's thread was given up: mark the server as closed, without the loop, which does the rest."""
        self._runtime.context.close()
        self._check.close()


# Those whose servers may have something open. A forked child has copies of all that.
_open: weakref.WeakSet[Judgement] = weakref.WeakSet()


def _let_go_in_child() -> None:
    for judgement in list(_open):
        with contextlib.suppress(Exception):
            judgement.let_go_in_child()
    _open.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go_in_child)
