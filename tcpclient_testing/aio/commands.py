"""Carries out the engine's commands, in the order in which they were given.

    Command --perform--> the part of the server, or of one connection, that does it
    Send --by the script--> deferred --the next iteration of the loop--> performed
    StartTimer --> set --the deadline--> the engine judges what is overdue

The first failure (`GiveUp`) resets every connection, stops listening, wakes every waiting task, and interrupts the body
of the test.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.process.debugger import debugger_active
from tcpclient_testing.engine import commands
from tcpclient_testing.engine.conversation.pipelining import client_must_wait

if TYPE_CHECKING:
    from tcpclient_testing.aio.connection.protocol import ConnectionProtocol
    from tcpclient_testing.aio.connection.registry import Connections
    from tcpclient_testing.aio.context import ServerContext

    from .accepting import Reception
    from .handlers import Handlers
    from .host import Host
    from .tasks import StepTasks

__all__ = ["Performer"]

__unittest = True

# A timer that fires this late (seconds) shows that the loop stood still, and perhaps a client in it as well. Then
# time-outs start anew; without progress, only once per step.
_STANDSTILL = 0.25


class Performer:
    """Carries out the commands of one server, which runs in a loop."""

    def __init__(self, context: ServerContext, host: Host, connections: Connections, reception: Reception) -> None:
        self.handlers: Optional[Handlers] = None
        self._context = context
        self._host = host
        self._connections = connections
        self._reception = reception
        self._deferred: list[commands.Command] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self._step_tasks: Optional[StepTasks] = None

    def perform(self) -> None:
        """Carry out the engine's pending commands, in order."""
        pending, table = self._context.commands, self._TABLE
        while pending:
            command = pending.pop(0)
            table[type(command)](self, command)

    def perform_deferred(self) -> None:
        """Carry out the commands that new steps caused.

        Sends are deferred to the next iteration of the loop, so that sends written one after another are one write.
        """
        pending = self._context.commands
        sends = [command for command in pending if type(command) is commands.Send]
        if sends:
            pending[:] = [command for command in pending if type(command) is not commands.Send]
            if not self._deferred:
                self._context.loop.call_soon(self._perform_sends)
            self._deferred += sends
        self.perform()

    def _perform_sends(self) -> None:
        deferred, self._deferred = self._deferred, []
        if not self._context.environment.over:
            self._context.commands[:0] = deferred
            self.perform()

    @property
    def busy(self) -> bool:
        """Whether there are commands to carry out in the next iteration of the loop."""
        return bool(self._deferred or self._context.commands)

    def stop(self) -> None:
        """Cancel the timer and all tasks, because the server is closed."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._step_tasks is not None:
            self._step_tasks.cancel()
        if self.handlers is not None:
            self.handlers.cancel()

    # One connection.

    def _connection(self, command: commands.Command) -> ConnectionProtocol:
        assert command.number is not None
        return self._connections.by_number[command.number]

    def _send(self, command: commands.Send) -> None:
        connection = self._connection(command)
        if self._context.environment.looks_first and client_must_wait(connection.link.conversation):
            connection.early_input.look(partial(self._send_late, connection))
        elif connection.link.conversation.outbox.unfinished:
            # An iterator may have no end, and the client may be quick: give everybody else a turn before each write.
            self._context.loop.call_soon(self._send_late, connection)
        else:
            connection.sending.send()

    def _send_late(self, connection: ConnectionProtocol) -> None:
        if not self._context.environment.over:
            connection.sending.send()
            self.perform()

    def _send_interleaved(self, command: commands.SendInterleaved) -> None:
        self._connection(command).sending.send_interleaved(command.data)

    def _half_close(self, command: commands.HalfClose) -> None:
        self._connection(command).closing.half_close(command.drain, ragged=command.ragged)

    def _close(self, command: commands.Close) -> None:
        self._connection(command).link.close()

    def _reset(self, command: commands.ResetConnection) -> None:
        self._connection(command).closing.reset_when_taken()

    def _watch_reset(self, command: commands.WatchReset) -> None:
        self._connection(command).client_end.watch_reset()

    def _pause_reading(self, command: commands.PauseReading) -> None:
        self._connection(command).reading.pause()

    def _resume_reading(self, command: commands.ResumeReading) -> None:
        self._connection(command).reading.resume()

    def _start_tls(self, command: commands.StartTLS) -> None:
        starttls = self._context.environment.tls_context is None
        self._connection(command).start_tls(command.context, command.begun, starttls=starttls)

    # The server, or one connection of it.

    def _set_network(self, command: commands.SetNetwork) -> None:
        if command.for_all:
            self._connections.set_network(command.network)
        if command.number is not None:
            self._connection(command).sending.set_network(command.network)

    def _set_accepting(self, command: commands.SetAccepting) -> None:
        self._reception.set_accepting(command.accepting)

    def _fail_connections(self, command: commands.FailConnections) -> None:
        self._reception.fail(command.count)

    def _give_up(self, command: commands.GiveUp) -> None:
        failure = self._context.environment.failure
        self._reception.stop()  # first: the report may need descriptors, to load its code
        if failure is not None and failure.at_end:
            self._host.failed_at_end()
        self._host.failed()
        why = f"reset by the server: {self._host.giving_up}"
        for connection in list(self._connections.by_number.values()):
            connection.reset(why)
        self._host.waiters.give_up()
        self._host.interrupt_body()

    # Time, waiting and tasks.

    def _start_timer(self, command: commands.StartTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._context.loop.call_at(command.deadline, self._tick)

    def _tick(self) -> None:
        self._timer = None
        session, now = self._context.session, self._context.loop.time()
        due = session.environment.reminder  # it may come later: then this is only a look, which may be late
        if debugger_active():
            session.restart(now)
        elif due is not None and now - due > _STANDSTILL:
            session.excuse(now)
        for connection in list(self._connections.by_number.values()):
            connection.measure()
        session.tick(now)
        self.perform()

    def _wake(self, command: commands.Wake) -> None:
        self._host.waiters.wake(command.step)

    def _start_handler(self, command: commands.StartHandler) -> None:
        if self.handlers is None:
            from .handlers import Handlers
            self.handlers = Handlers(self._context, self._host.handle_for_handler)
        self.handlers.start(command)

    def _run_coroutine(self, command: commands.RunCoroutine) -> None:
        self._tasks().compute(command)

    def _await(self, command: commands.Await) -> None:
        self._tasks().hold(command)

    @property
    def step_tasks(self) -> Optional[StepTasks]:
        """The tasks that wait for something on behalf of steps; None if no step has needed one."""
        return self._step_tasks

    def _tasks(self) -> StepTasks:
        """Return the tasks that wait for something on behalf of steps; they are made when the first step needs one."""
        if self._step_tasks is None:
            from .tasks import StepTasks
            self._step_tasks = StepTasks(self._context)
        return self._step_tasks

    _TABLE: dict[type[commands.Command], Callable[[Performer, Any], None]] = {
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
