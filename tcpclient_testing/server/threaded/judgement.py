"""How the test of a server in a thread ends: its `Judgement`, asked from the threads and loops of the test."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from asyncio import events
from collections.abc import Container, Coroutine, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.harness.interruption import Body, ends_with_ctrl_c
from tcpclient_testing.harness.tracebacks import told_of
from tcpclient_testing.server.judgement import Findings, Judgement

from .caller import Caller
from .cross_thread import Waiting
from .loop_thread import LoopThread

if TYPE_CHECKING:
    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.harness.judged import Judged

    from .runtime import ThreadedHost, ThreadedRuntime

__all__ = ["ThreadedJudgement"]

__unittest = True

T = TypeVar("T")

# After so many turns of the loop, everything that a client had sent before it raised has been judged.
_TURNS = 16


class ThreadedJudgement(Findings):
    """The side of a threaded server in the report of a test. `inner` judges, and runs in `thread`."""

    in_loop = False

    _runtime: ThreadedRuntime

    def __init__(self, runtime: ThreadedRuntime, inner: Judgement, thread: LoopThread) -> None:
        super().__init__(runtime)
        self._inner = inner
        self._thread = thread
        self._followers: list[Callable[[ThreadedJudgement, ThreadedJudgement], None]] = []

    @property
    def finished(self) -> bool:
        """Whether the server was closed, and neither it nor its thread has a failure that was not reported."""
        return self._inner.finished and self._thread.error is None

    @property
    def excused(self) -> bool:
        """Whether the server gives no verdict any more, since the test has its report."""
        return self._inner.excused

    @property
    def host(self) -> ThreadedHost:
        """The host of the server: what other servers of the test have to know."""
        return self._runtime.host

    def set_other_servers(self, servers: Sequence[object]) -> None:
        """Make this one of the `servers` of a test: if it fails, callers that wait for another of them are released.

        Only servers in threads have such callers. The list may grow afterwards.
        """
        def hosts() -> list[ThreadedHost]:
            return [server.host for server in servers if isinstance(server, ThreadedJudgement)]
        if self._inner.cancels_body:
            self.host.set_companions(hosts)
        for host in hosts():
            host.fail_if_failed(self.host)

    def follows(self, servers: Sequence[Judged]) -> bool:
        """Whether the script failed only because that of one of these servers had failed."""
        return any(isinstance(each, ThreadedJudgement) and self.host.follows(each.host) for each in servers)

    # The body.

    def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None:
        """Make `task`, of any loop, the body of the test from now on, as `Judgement.set_body` does."""
        if self._inner.cancels_body:
            host = self.host
            # If the script fails later, the server's thread sees the body then.
            host.set_body(Body(task, host.awaiting.includes, cleaning=cleaning))

    async def release_body(self) -> bool:
        """Stop interrupting the body, the running task. Return whether it was interrupted, and by nobody else."""
        body = self.host.take_body()
        return body is not None and await body.release()

    async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False, attach: bool = True,
                       blocking: bool = False) -> Optional[BaseException]:
        """A part of the test has ended with `exc`, or without, as for `Judgement.conclude`."""
        if isinstance(exc, asyncio.CancelledError) and not interrupted and ends_with_ctrl_c():
            self._inner.excuse()  # only this thread can tell
            return None
        with self._unless_given_up():
            return await self._answer(lambda: self._conclude(exc, interrupted, attach), blocking)
        return await self._inner.conclude(exc, interrupted=interrupted, attach=attach)

    async def _conclude(self, exc: Optional[BaseException], interrupted: bool,
                        attach: bool) -> Optional[BaseException]:
        if exc is not None and self._runtime.running and not self._runtime.closed:
            # Process what the client did before it raised: then `exc` can be judged.
            self._runtime.reception.accept()
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            self._runtime.look_back(exc)
        return await self._inner.conclude(exc, interrupted=interrupted, attach=attach)

    async def show_conversation(self, exc: BaseException, *, blocking: bool = False) -> None:
        """Attach the conversation to `exc`, as `Judgement.show_conversation` does."""
        with self._unless_given_up():
            await self._answer(lambda: self._inner.show_conversation(exc), blocking)
            return
        await self._inner.show_conversation(exc)

    def forgive(self, steps: Container[Step[Any]]) -> None:
        """Judge no more how these steps were met, as `Judgement.forgive` does."""
        self._inner.forgive(steps)

    async def look_for_cause(self, until: float, *, blocking: bool = False) -> None:
        """Another server has waited in vain, as for `Judgement.look_for_cause`."""
        if self._runtime.running and not self._runtime.closed:
            with self._unless_given_up():
                await self._answer(lambda: self._inner.look_for_cause(until), blocking)

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """Give no verdict any more: the test has its one report. Attach the conversation to its exception, `exc`."""
        self._inner.excuse(exc)

    # Leaving.

    async def judge(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Do what ``join(final=True)`` does; see `Judgement.judge`."""
        await self._end_script(self._inner.judge, implied_disconnect, blocking)

    async def leave(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Wait for the rest of the script, raise the verdict unless the test has its report, and close everything."""
        try:
            await self._end_script(self._inner.leave, implied_disconnect, blocking)
        except Exception:
            self._end()
            raise
        except BaseException:  # Ctrl-C, or a cancellation: nothing may hide it
            with contextlib.suppress(AssertionError, ScriptError):
                self.close()
            raise
        self._end()

    async def clear(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Do what `leave` does, but keep the server: it begins another script, whatever is raised."""
        try:
            await self._end_script(self._inner.clear, implied_disconnect, blocking)
        finally:
            if self._thread.given_up:
                self._end()

    async def _end_script(self, end: Callable[..., Coroutine[Any, Any, None]], implied_disconnect: bool,
                          blocking: bool) -> None:
        """Judge the script by `end`, a method of the inner judgement. If the thread was given up, raise the verdict."""
        caller = Caller(blocking=blocking)
        try:
            with self._unless_given_up():
                await self._answer(lambda: end(implied_disconnect=implied_disconnect, idle=caller.idle), blocking)
                return
        finally:
            caller.left()
        self._inner.raise_unreported()

    def renew(self) -> None:
        """Close every connection at once, without a verdict, and let the server begin another script."""
        if self._thread.given_up:
            self.close()
        elif not self._thread.ended:
            self._thread.call(self._inner.renew)

    def follow(self, tell: Callable[[ThreadedJudgement, ThreadedJudgement], None]) -> None:
        """Call `tell` with this and with the next judgement when the server begins another script."""
        self._followers.append(tell)

    def give_way(self, successor: ThreadedJudgement) -> None:
        """The server has begun another script, which has this `successor`."""
        successor.host.accompany(self.host)
        for tell in self._followers:
            tell(self, successor)

    def _end(self) -> None:
        """End the thread, after the verdict. Raise `ScriptError` if the thread had ended with an error before."""
        error = self._thread.error
        self.close()
        if error is not None:
            self._thread.forget_error()
            raise ScriptError(f"the server's thread has ended: {type(error).__name__}: {error}") from error

    def close(self) -> None:
        """Close everything at once, whatever the clients are doing, and judge nothing."""
        try:
            self._thread.stop()
        finally:
            if self._thread.given_up:
                self._inner.let_go()

    @contextlib.contextmanager
    def _unless_given_up(self) -> Iterator[None]:
        """Drop the exception of a call to the thread if the thread was given up: the verdict says why."""
        try:
            yield
        except (AssertionError, ScriptError):
            if not self._thread.given_up:
                raise

    async def _answer(self, make: Callable[[], Coroutine[Any, Any, T]], blocking: bool) -> T:
        """Run a coroutine in the server's thread; block until it has ended, or await that in another loop."""
        thread = self._thread
        if thread.given_up:
            raise thread.gone()
        if thread.ended:
            return await make()  # all is closed, and nothing can change any more
        reply = thread.submit(make())
        if blocking:
            return thread.answer(reply)
        if events._get_running_loop() is None:
            answer: T = await sys.modules["trio"].to_thread.run_sync(thread.answer, reply)
            return answer
        try:
            result: T = await Waiting(self.host.awaiting, reply.future())
            return result
        except Exception as error:  # noqa: BLE001 - the same exception is raised
            raise error.with_traceback(told_of(error))  # noqa: B904 - the same exception
