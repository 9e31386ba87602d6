"""What the engine and its users ask of a server: the handles of connections, waits for steps, and the verdict.

    waits are possible --the script fails, or the server is left--> waits end with the verdict

It implements the engine's `Host`. It knows the body of the test, and interrupts it when the script has failed. The
report is made once, when somebody first asks for the verdict.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.context import Link, ServerContext
from tcpclient_testing.aio.sockets.polling import TICK
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.timing import SCALE
from tcpclient_testing.engine.wording import address_text
from tcpclient_testing.harness.interruption import Body
from tcpclient_testing.transcript.entries import Transcript

from .causes.client_errors import ClientErrors
from .causes.lookout import Lookout
from .waiting import JoinWait, Waiters

if TYPE_CHECKING:
    from collections.abc import Collection

    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.harness.task_snapshot import TaskSnapshot
    from tcpclient_testing.report.report import ExpectationError, Report

__all__ = ["HandleFactory", "Host", "JoinWait", "Waiters"]

__unittest = True

# Reports mention real time on a virtual loop from this duration on (seconds). It is longer than the 0.25 s for which a
# thread must have slept before it counts as idle.
_WORTH_TELLING = 0.5

#: Makes the handle of a connection.
HandleFactory = Callable[["Conversation"], Any]


class Host:
    """Implements the engine's `Host` for one server. It also makes the server's session, transcript and context.

    - `timeout`, `idle_timeout`: in seconds, see `Session`.
    - `transcript_limit`: in bytes, see `Transcript`.
    - `make_handle`, `make_handle_for_handler`: make the handle of a connection, for its script and for its handler.
    - `attach`: gives the server its loop, if a step is awaited before it has one.
    - `address`: returns the address at which the server listens.
    """

    #: Whether the loop runs in a thread of its own, in which no test runs.
    threaded = False

    #: The system's number of the thread in which the test runs, if that isn't the server's.
    test_thread: Optional[int] = None

    #: Whether it can be seen how much of what was sent the client has read.
    sees_reading = True

    #: How coarse the clock is, in seconds.
    tick = TICK

    #: Why connections are reset when the script has failed, for the transcript.
    giving_up = "the script failed"

    def __init__(self, timeout: Optional[float], idle_timeout: Optional[float], transcript_limit: int,
                 make_handle: HandleFactory, make_handle_for_handler: HandleFactory,
                 attach: Callable[[asyncio.AbstractEventLoop], None], address: Callable[[], Any]) -> None:
        self.session = Session(self, timeout, idle_timeout)
        self.transcript = Transcript(0.0, transcript_limit)
        self.context = ServerContext(self.session, self.transcript, threaded=self.threaded)
        self.waiters: Waiters
        self.body: Optional[Body] = None
        self.client_errors = ClientErrors()
        self.handle_for_handler = make_handle_for_handler
        self._make_handle = make_handle
        self._attach = attach
        self._address = address
        self._starter: Optional[weakref.ref[asyncio.Task[Any]]] = None  # the task that started the server
        self._link_of: Callable[[int], Optional[Link]] = lambda _: None
        self._report: Optional[Report] = None

    def attached(self, loop: asyncio.AbstractEventLoop, link_of: Callable[[int], Optional[Link]]) -> None:
        """There is a loop: steps can be awaited from now on. `link_of` returns the link of a connection."""
        self._link_of = link_of
        lookout = self._make_lookout(loop)
        self.client_errors.begin(lookout)
        self.waiters = Waiters(loop, self.error, lookout.begin, self._cause_for)
        task = asyncio.current_task() if asyncio._get_running_loop() is loop else None
        self._starter = None if task is None else weakref.ref(task)
        lookout.start()
        if self.session.connections.all:
            lookout.listen()

    def _make_lookout(self, loop: asyncio.AbstractEventLoop) -> Lookout:
        return Lookout(self.context, self._address, self._waiting, self._report_cause, tuple, loop)

    def _waiting(self) -> Collection[asyncio.Task[Any]]:
        return self.waiters.tasks()

    def hear_threads(self) -> None:
        """A part of the test begins: hear of exceptions that end threads."""
        self.client_errors.hear_threads()

    def show_elsewhere(self) -> None:
        """The caller shows the conversation of a test that has failed."""
        self.client_errors.show_elsewhere()

    def closed(self) -> None:
        """The server is closed: look for no cause any more."""
        self.client_errors.end()

    @property
    def client_error(self) -> Optional[BaseException]:
        """The exception of a client that has failed by itself, once the test has it: it is the test's report."""
        return self.client_errors.told

    @property
    def task_snapshot(self) -> Optional[TaskSnapshot]:
        """The snapshot of the loop's tasks, if the failure came at a client's end."""
        return self.client_errors.snapshot

    @property
    def virtual(self) -> bool:
        """Whether the loop, once there is one, runs on virtual time."""
        return self.context.virtual

    # What the engine asks of its adapter (see the engine's `Host`).

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the handle of a connection, which the script or a client mentions first."""
        self.client_errors.listen()
        return self._make_handle(conversation)

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """Let `handle`, by which a script was written, belong to `conversation` from now on."""
        handle._rebind(conversation)

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait until `step` is satisfied."""
        if self.session.environment.over:
            raise self.error()
        if not self.context.attached:
            self._attach(asyncio.get_running_loop())
        return self.waiters.wait(step)

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        """Raise what `step.result()` raises for a step that is not satisfied."""
        if timeout is not None:
            raise TypeError("result(timeout=...) is for threaded servers; here, await the step")
        if self.session.environment.over:
            raise self.error()
        raise asyncio.InvalidStateError(f"{step} is not done yet; await it")

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        """The exception of a step that is not satisfied."""
        if not self.session.environment.over:
            self.raise_unsatisfied(step, timeout)
        return self.error()

    def status_of(self, step: Step[Any]) -> str:
        """Return the state of a step, for reports."""
        return self.session.status_of(step)

    def ending_of(self, number: int) -> str:
        """Say how the client of a connection ended its stream."""
        return self.context.ending_of(self.session.connections.of(number))

    def standstill(self, number: int) -> Optional[tuple[str, object]]:
        """Say what is waited for on a connection whose script is complete."""
        link, body = self._link_of(number), self.body
        if link is None:
            return None
        from tcpclient_testing.aio.guards.standstill import standstill
        tasks = [None if body is None else body.task, None if self._starter is None else self._starter()]
        return standstill(link, [task for task in tasks if task is not None], self.test_thread)

    def listening_at(self) -> str:
        """Return the server's address as text, for reports."""
        return address_text(self._address())

    def join(self, step: Step[Any]) -> JoinWait:
        """Return an awaitable that waits for `step`, on behalf of a join."""
        return JoinWait(step)

    # The body of the test.

    def begin_body(self, task: asyncio.Task[Any], *, cleaning: bool) -> None:
        """Make `task` the body, which is interrupted when the script fails; see `Body` for `cleaning`."""
        self.set_body(Body(task, self.waiters.includes, cleaning=cleaning))

    def set_body(self, body: Body) -> None:
        """Interrupt `body` when the script fails; at once if it has failed. It takes the place of the one before."""
        if self.body is not None:
            self.body.drop()
        self.body = body
        if self.session.environment.failure is not None:
            self._interrupt(body)

    def take_body(self) -> Optional[Body]:
        """The body has ended, if there is one: return it, and don't interrupt it any more."""
        body, self.body = self.body, None
        return body

    def interrupt_body(self) -> None:
        """Interrupt the body of the test, whatever it waits for, because the script has failed."""
        if self.body is not None:
            self.body.interrupt()

    def _interrupt(self, body: Body) -> None:
        body.interrupt()

    # The client's own errors.

    def _report_cause(self, error: BaseException) -> bool:
        """Let the body, if it waits for a step, get `error`: the client has failed by itself, and all is at rest."""
        waiters, body = self.waiters, self.body
        task = next((each for each in waiters.tasks() if body is None or self._waits(body, each)), None)
        if task is None:
            return False
        self._tell_of(error)
        waiters.raise_in(task, error)
        return True

    def _waits(self, body: Body, task: asyncio.Task[Any]) -> bool:
        """Whether `body` waits for a step by `task`."""
        return body.waits_by(task)

    def _tell_of(self, error: BaseException) -> None:
        """The test's report is going to be `error`, the client's: the conversation is attached to it."""
        from tcpclient_testing.harness.blame import Blame
        self.client_errors.tell(error)
        Blame(self).attach_to_cause(error, conversation=not self.client_errors.shown_elsewhere)

    async def _cause_for(self, task: Optional[asyncio.Task[Any]]) -> Optional[BaseException]:
        """Return what `task`, which waited for a step, is to raise instead of the verdict: the body, not others."""
        body = self.body
        if body is not None and task is not None and not self._waits(body, task):
            return None
        return await self.cause_of_end()

    async def cause_of_end(self) -> Optional[BaseException]:
        """Return the client's exception by which the script has failed: it made it end its stream, or not connect."""
        errors = self.client_errors
        if errors.snapshot is not None and errors.told is None:
            await errors.snapshot.until_raised()
        failure = self.session.environment.verdict
        if self.client_error is None and failure is not None and failure.at_end and errors.lookout is not None:
            await errors.lookout.causes.until_threads_ended()
        return self.cause_of_end_by_now()

    def cause_of_end_by_now(self) -> Optional[BaseException]:
        """The same, but without waiting until a task that was about to raise has done so."""
        failure = self.session.environment.verdict
        if failure is None or not (failure.at_end or failure.mismatch.of_absence):
            return None
        errors = self.client_errors
        if errors.told is None and errors.lookout is not None:
            from tcpclient_testing.harness.blame import Blame
            error = errors.lookout.causes.of_end(Blame(self).raised_before) if failure.at_end else \
                next(iter(errors.before()), None)
            if error is not None:
                self._tell_of(error)
        return errors.told

    def errors_beside(self) -> list[BaseException]:
        """Return the errors with which clients have ended beside the body, if the script has not failed."""
        lookout = self.client_errors.lookout
        if lookout is None or self.session.environment.verdict is not None or lookout.stopped:
            return []
        lookout.causes.failed()
        return lookout.causes.named()

    # The verdict.

    def failed(self) -> None:
        """The script has failed just now: the errors of clients that there are came before."""
        self.client_errors.failed()

    def failed_at_end(self) -> None:
        """The script has failed at a client's end just now: keep what the tasks were doing, which may be the cause."""
        if not self.threaded:
            self.client_errors.keep_tasks(self.context.loop)

    def client_raised(self, exc: Optional[BaseException]) -> None:
        """The client raised `exc` after the script had failed: the report shows the first such exception."""
        self.client_errors.followed(exc)

    def release_snapshot(self) -> None:
        """Drop the exceptions that were kept, after the verdict."""
        self.client_errors.release()

    def error(self) -> ExpectationError:
        """Make a new exception for a caller that comes after the end: the verdict, or that the server was left."""
        if self.session.environment.failure is None:
            self.session.failure_of_leaving("cleared" if self.context.cleared else "left")
        from tcpclient_testing.harness.exceptions import chain_of
        from tcpclient_testing.report.report import ExpectationError, Report

        from .too_early import awaited_too_early
        consequence = self.client_errors.consequence
        if self._report is None:
            hint, before = None, self.client_errors.before()
            if not before and (self.body is not None or self.threaded):
                hint = awaited_too_early(self.context, self.waiters, self.client_errors.lookout)
            if hint is None and self.context.in_memory and self._nobody_connected():
                hint = self.context.sockets.reached_by
            timed = self.session.environment.scale != 1 or hasattr(self.context.loop, "really_waited")
            self._report = Report.of(self.session, self.transcript, notes=self._about_time() if timed else [],
                                     hint=hint, before=before,
                                     after=[] if consequence is None else chain_of(consequence))
        return ExpectationError(self._report, consequence)

    def _nobody_connected(self) -> bool:
        failure = self.session.environment.verdict
        return failure is not None and failure.step is not None and failure.step.connects \
            and not self.session.environment.accepted

    def advice(self) -> list[str]:
        """Return lines on what to do about an exception that the body of the test has raised."""
        alone = self.context.in_memory and not self.session.environment.accepted
        return [self.context.sockets.reached_by] if alone else []

    @property
    def told(self) -> bool:
        """Whether a test framework has shown the verdict as the report of a test."""
        return self._report is not None and self._report.told

    def _about_time(self) -> list[str]:
        """Return the report's lines about scaled time-outs, and about virtual time that passed as real time."""
        about = []
        environment = self.session.environment
        if environment.failure is not None and environment.failure.overdue and environment.scale != 1:
            about = ["  time-outs", f"    are {environment.scale:g} times as long as written: {SCALE}"]
        about += self.context.about_time()
        waited = getattr(self.context.loop, "really_waited", {}).items()
        lines = [f"    for {lasted:.1f} s, because {reason}" for reason, lasted in waited if lasted >= _WORTH_TELLING]
        return about + ["  virtual time was real", *lines] if lines else about
