"""Runs the engine in an event loop: listening sockets, connections, timers, and the tasks that wait for steps.

    new --bind--> running --GiveUp--> failed --close--> closed
                     `---------------close----------------^

While the server is running, `attach` gives it its loop. The engine receives events and queues commands; `perform`
carries them out, in order. The first failure resets every connection, stops listening, wakes every waiting task, and
interrupts the body of the test.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

from tcpclient_testing.aio.connection.protocol import ConnectionProtocol
from tcpclient_testing.aio.process.debugger import debugger_active
from tcpclient_testing.engine import commands
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import SCALE, Step
from tcpclient_testing.engine.wording import address_text
from tcpclient_testing.harness.interruption import Body
from tcpclient_testing.transcript.entries import Transcript

from .accepting import Reception
from .waiting import Waiters

if TYPE_CHECKING:
    from tcpclient_testing.aio.connection.pacing import Conditions
    from tcpclient_testing.aio.process.guard import DeadlockGuard
    from tcpclient_testing.aio.sockets.inet_diag import PeerProbe
    from tcpclient_testing.aio.streams.record import ClientStream
    from tcpclient_testing.harness.task_snapshot import TaskSnapshot
    from tcpclient_testing.network.conditions import Network
    from tcpclient_testing.report.report import ExpectationError, Report

    from .handlers import Handlers
    from .tasks import StepTasks

__all__ = ["Runtime", "is_virtual"]

__unittest = True

# A timer that fires this late (seconds) shows that the loop stood still, and perhaps a client in it as well. Then
# time-outs start anew; without progress, only once per step.
_STANDSTILL = 0.25
# Reports mention real time on a virtual loop from this duration on (seconds). It is longer than the 0.25 s for which a
# thread must have slept before it counts as idle.
_WORTH_TELLING = 0.5


def is_virtual(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop runs on virtual time. Most loops don't, so this check doesn't import the virtual clock."""
    return hasattr(loop, "why_real")


class Runtime:
    """The inner part of one server: its engine, sockets and timers. `make_handle` makes the handle of a connection."""

    #: Whether the loop runs in a thread of its own, in which no test runs.
    threaded = False

    #: Why connections are reset when the script has failed, for the transcript.
    giving_up = "the script failed"

    def __init__(self, timeout: Optional[float], idle_timeout: Optional[float], transcript_limit: int,
                 make_handle: Callable[[Conversation], Any]) -> None:
        self.session = Session(self, timeout, idle_timeout)
        self.transcript = Transcript(0.0, transcript_limit)
        self.running = False
        self.attached_to_loop = False
        self.closed = False
        self.body: Optional[Body] = None
        self.client_exception: Optional[BaseException] = None
        self.task_snapshot: Optional[TaskSnapshot] = None  # of the loop's tasks, if the failure came at a client's end
        self.loop: asyncio.AbstractEventLoop = cast(asyncio.AbstractEventLoop, None)  # until open
        self.waiters: Waiters
        self.protocols: dict[Conversation, ConnectionProtocol] = {}
        self.reception = Reception(self)
        self.hint: Callable[[], Optional[str]] = lambda: None
        self.evidence: Callable[[Conversation], str] = lambda _: "ended its stream"
        self.stream_of: Callable[[Any], Optional[ClientStream]] = lambda _: None
        self.address_taken: Callable[[Conversation, Any], None] = lambda *_: None
        self._conditions: Optional[Conditions] = None
        self._probe: Optional[PeerProbe] = None
        self._achieved: dict[Conversation, list[int]] = {}
        self._make_handle = make_handle
        self._deferred: list[commands.Command] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self._step_tasks: Optional[StepTasks] = None
        self._guard: Optional[DeadlockGuard] = None
        self.handlers: Optional[Handlers] = None
        self.handle_for_handler: Callable[[Conversation], Any] = make_handle
        self._report: Optional[Report] = None

    def bind(self, listeners: list[socket.socket]) -> None:
        """Take over these listening sockets. Clients wait in their backlog until `attach` is called."""
        self.reception.bind(listeners)
        self.running = True

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run in `loop`: accept clients from now on. The time-outs of steps that are already written start now."""
        self.loop = loop
        self.attached_to_loop = True
        self.transcript.started = loop.time()
        self.waiters = Waiters(loop, self.error)
        self.reception.open()
        if not self.threaded:
            from tcpclient_testing.aio.process.guard import DeadlockGuard  # here, since it takes a server that runs
            self._guard = DeadlockGuard(self)
        self.session.begin_time(loop.time())
        self.perform()

    @property
    def virtual(self) -> bool:
        """Whether the loop, once there is one, runs on virtual time."""
        return is_virtual(self.loop)

    def now(self) -> float:
        """The time of the loop's clock, in seconds; 0 while there is no loop yet."""
        return self.loop.time() if self.attached_to_loop else 0.0

    def close(self) -> None:
        """Close everything at once, whatever the clients do."""
        self.closed = True
        if not self.running:
            return
        if self._guard is not None:
            self._guard.stop()
        self.session.leave()
        self.reception.close()
        if not self.attached_to_loop:
            return
        if self.loop.is_closed():
            for protocol in self.protocols.values():
                protocol.abandon()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.reception.give_up()
        if self._step_tasks is not None:
            self._step_tasks.cancel()
        if self.handlers is not None:
            self.handlers.cancel()
        for protocol in list(self.protocols.values()):
            protocol.leave()
        self.protocols.clear()
        if self._probe is not None:
            self._probe.close()
        self.waiters.give_up()

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors. The loop and the connections belong to the parent."""
        self.closed = True
        self.session.leave()
        self.reception.abandon()
        for protocol in self.protocols.values():
            protocol.abandon()

    @property
    def wants_a_turn(self) -> bool:
        """Whether the script waits only for the next iteration of the loop."""
        return bool(self._deferred or self.reception.attaching or self.session.commands)

    def attached(self, protocol: ConnectionProtocol, now: float) -> Conversation:
        """Register a connection that is ready; return its conversation."""
        number = self.session.accepted
        self.transcript.connected(now, number + 1, address_text(protocol.peername))
        conversation = self.session.reserve(number)
        self.protocols[conversation] = protocol
        protocol.conversation = conversation
        self.address_taken(conversation, protocol.peername)
        self._achieved[conversation] = protocol.achieved
        if self._conditions is not None and self._conditions.network is not None:
            self._conditions.apply(protocol, self._conditions.network)
        self.session.connected(now, protocol.peername)
        return conversation

    # The script.

    def after_script(self) -> None:
        """Carry out the commands that new steps caused. Raises the verdict if the script has failed.

        Sends are deferred to the next iteration of the loop, so that sends written one after another are one write.
        """
        if not self.attached_to_loop:
            return
        pending = self.session.commands
        sends = [command for command in pending if type(command) is commands.Send]
        if sends:
            pending[:] = [command for command in pending if type(command) is not commands.Send]
            if not self._deferred:
                self.loop.call_soon(self._send_deferred)
            self._deferred += sends
        self.perform()
        if self.session.failure is not None:
            raise self.error()

    def _send_deferred(self) -> None:
        deferred, self._deferred = self._deferred, []
        if not self.session.over:
            self.session.commands[:0] = deferred
            self.perform()

    # What the engine asks of its adapter (see `Host`).

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the handle of a connection."""
        return self._make_handle(conversation)

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """Let `handle`, by which a script was written, belong to `conversation` from now on."""
        handle.rebind(conversation)

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait until `step` is satisfied."""
        if self.session.over:
            raise self.error()
        if not self.attached_to_loop:
            self.attach(asyncio.get_running_loop())
        return self.waiters.wait(step)

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        """Raise what `step.result()` raises for a step that is not satisfied."""
        if timeout is not None:
            raise TypeError("result(timeout=...) is for threaded servers; here, await the step")
        if self.session.over:
            raise self.error()
        raise asyncio.InvalidStateError(f"{step} is not done yet; await it")

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        """The exception of a step that is not satisfied."""
        if not self.session.over:
            self.raise_unsatisfied(step, timeout)
        return self.error()

    def ending_of(self, conversation: Conversation) -> str:
        """Say how the client ended its stream."""
        return self.evidence(conversation)

    def listening_at(self) -> str:
        """Return the server's address as text, for reports."""
        return address_text(self.reception.address)

    def error(self) -> ExpectationError:
        """Make a new exception for a caller that comes after the end: the verdict, or that the server was left."""
        if self.session.failure is None:
            self.session.failure_of_leaving()
        from tcpclient_testing.report.report import ExpectationError, Report
        if self._report is None:
            from tcpclient_testing.report.hints import advice_on

            from .waiting import awaited_too_early
            hint = self.hint() or awaited_too_early(self) or advice_on(self.session.failure, self.transcript)
            self._report = Report.of(self.session, self.transcript, hint=hint)
            self._report.body += self._about_time()
        error = ExpectationError(self._report)
        error.client_exception = self.client_exception
        return error

    def _about_time(self) -> list[str]:
        """Return the report's lines about scaled time-outs, and about virtual time that passed as real time."""
        about = []
        session = self.session
        if session.failure is not None and session.failure.overdue and session.scale != 1:
            about = ["  time-outs", f"    are {session.scale:g} times as long as written: {SCALE}"]
        waited = getattr(self.loop, "really_waited", {}).items()
        lines = [f"    for {lasted:.1f} s, because {reason}" for reason, lasted in waited if lasted >= _WORTH_TELLING]
        return about + ["  virtual time was real", *lines] if lines else about

    # Commands.

    def perform(self) -> None:
        """Carry out the engine's pending commands, in order."""
        pending, table = self.session.commands, self._TABLE
        while pending:
            command = pending.pop(0)
            table[type(command)](self, command)

    def fail_from_outside(self) -> None:
        """Give up, because something other than the engine has set the session's failure."""
        if not self.closed:
            self.session.commands[:] = [commands.GiveUp()]
            self.perform()

    def _protocol(self, command: commands.Command) -> ConnectionProtocol:
        assert command.conversation is not None
        return self.protocols[command.conversation]

    def _send(self, command: commands.Send) -> None:
        if self.session.pipelining:
            self._protocol(command).send()
        else:
            # What the client sent without waiting for this is in the socket by now: read it first. Wait two iterations
            # of the loop, since sockets that select() finds ready come after the callbacks already scheduled for that
            # iteration.
            self.loop.call_soon(self.loop.call_soon, self._send_late, command)

    def _send_late(self, command: commands.Send) -> None:
        if not self.session.over:
            self._protocol(command).send()
            self.perform()

    def _send_interleaved(self, command: commands.SendInterleaved) -> None:
        self._protocol(command).send_interleaved(command.data)

    def _start_handler(self, command: commands.StartHandler) -> None:
        if self.handlers is None:
            from .handlers import Handlers
            self.handlers = Handlers(self)
        self.handlers.start(command)

    def _half_close(self, command: commands.HalfClose) -> None:
        self._protocol(command).half_close(command.drain)

    def _close(self, command: commands.Close) -> None:
        self._protocol(command).close()

    def _reset(self, command: commands.ResetConnection) -> None:
        self._protocol(command).reset_when_taken()

    def _watch_reset(self, command: commands.WatchReset) -> None:
        self._protocol(command).watch_reset()

    def _start_timer(self, command: commands.StartTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(command.deadline, self._tick, command.deadline)

    def _tick(self, deadline: float) -> None:
        self._timer = None
        now = self.loop.time()
        if debugger_active():
            self.session.restart(now)
        elif now - deadline > _STANDSTILL:
            self.session.excuse(now)
        for protocol in self.protocols.values():
            protocol.measure()
        self.session.tick(now)
        self.perform()

    def _wake(self, command: commands.Wake) -> None:
        self.waiters.wake(command.step)

    def _run_coroutine(self, command: commands.RunCoroutine) -> None:
        self.step_tasks.compute(command)

    def _await(self, command: commands.Await) -> None:
        self.step_tasks.hold(command)

    @property
    def step_tasks(self) -> StepTasks:
        """The tasks that wait for something on behalf of steps; created when the first step needs one."""
        if self._step_tasks is None:
            from .tasks import StepTasks
            self._step_tasks = StepTasks(self)
        return self._step_tasks

    def _pause_reading(self, command: commands.PauseReading) -> None:
        self._protocol(command).pause_reading()

    def _resume_reading(self, command: commands.ResumeReading) -> None:
        self._protocol(command).resume_reading()

    def set_network(self, network: Optional[Network]) -> None:
        """Set the network conditions of connections that are accepted from now on; None for no conditions."""
        if network is not None or self._conditions is not None:
            self.conditions.network = network

    def probe(self) -> Optional[PeerProbe]:
        """Return the probe that asks the kernel about the clients' sockets; None where the kernel does not tell."""
        if self._probe is None:
            from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, available
            if available():
                self._probe = PeerProbe()
        return self._probe

    @property
    def conditions(self) -> Conditions:
        """The network conditions; created, and their code imported, when a test first sets some."""
        if self._conditions is None:
            from tcpclient_testing.aio.connection.pacing import Conditions
            self._conditions = Conditions()
        return self._conditions

    def _set_network(self, command: commands.SetNetwork) -> None:
        if command.for_all:
            self.set_network(command.network)
        if command.conversation is not None and (command.network is not None or self._conditions is not None):
            self.conditions.apply(self._protocol(command), command.network)

    def splits_of(self, conversation: Conversation) -> tuple[int, ...]:
        """Return the offsets at which the outgoing stream of a connection was certainly split."""
        return tuple(self._achieved.get(conversation, ()))

    def _set_accepting(self, command: commands.SetAccepting) -> None:
        self.reception.set_accepting(command.accepting)

    def _fail_connections(self, command: commands.FailConnections) -> None:
        self.reception.fail(command.count)

    def _start_tls(self, command: commands.StartTLS) -> None:
        self._protocol(command).start_tls(command.context, command.begun, starttls=self.session.tls_context is None)

    def _give_up(self, command: commands.GiveUp) -> None:
        failure = self.session.failure
        if failure is not None and failure.at_end and not self.threaded:
            from tcpclient_testing.harness.task_snapshot import TaskSnapshot
            self.task_snapshot = TaskSnapshot(self.loop)
        self.reception.close()
        for protocol in list(self.protocols.values()):
            protocol.reset(f"reset by the server: {self.giving_up}")
        self.waiters.give_up()
        self.interrupt_body()

    def interrupt_body(self) -> None:
        """Interrupt the body of the test, whatever it waits for, because the script has failed."""
        if self.body is not None:
            self.body.interrupt()

    _TABLE: dict[type[commands.Command], Callable[[Runtime, Any], None]] = {
        commands.Send: _send,
        commands.SendInterleaved: _send_interleaved,
        commands.StartHandler: _start_handler,
        commands.HalfClose: _half_close,
        commands.Close: _close,
        commands.ResetConnection: _reset,
        commands.WatchReset: _watch_reset,
        commands.StartTimer: _start_timer,
        commands.Wake: _wake,
        commands.RunCoroutine: _run_coroutine,
        commands.Await: _await,
        commands.PauseReading: _pause_reading,
        commands.ResumeReading: _resume_reading,
        commands.SetNetwork: _set_network,
        commands.SetAccepting: _set_accepting,
        commands.FailConnections: _fail_connections,
        commands.StartTLS: _start_tls,
        commands.GiveUp: _give_up,
    }
