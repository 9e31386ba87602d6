"""The engine at work in an event loop: listening sockets, connections, the clock, and who waits.

    new --open--> running --give up--> failed --close--> closed
                     `---------------close-----------------^

The engine is told what happens and leaves commands; `perform` carries them out, in order. The first failure resets
every connection, stops the listening, wakes whoever waits, and interrupts the body of the test.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Generator
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

from tcpclient_testing.engine import commands
from tcpclient_testing.engine.conversation import Conversation
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.session import Session, address_text
from tcpclient_testing.engine.steps import Step
from tcpclient_testing.transcript.entries import Transcript

from .attaching import Attaching
from .body import Body
from .connection import LINGER_NOT, ConnectionProtocol
from .deadlock import DeadlockGuard
from .debugger import debugger_active
from .listening import BACKLOG, refusing
from .waiting import Waiters

if TYPE_CHECKING:
    from tcpclient_testing.network.conditions import Network
    from tcpclient_testing.report import ExpectationError, Report

    from .client_stream import ClientStream
    from .errands import Errands
    from .handlers import Handlers
    from .inet_diag import PeerProbe
    from .pacing import Conditions

__all__ = ["Runtime"]

__unittest = True

_BUFFER = 256 * 1024
# A timer that comes so much too late (seconds) shows that the loop stood still, and the client in it perhaps as well:
# time-outs begin anew then.
_STANDSTILL = 0.25

# What accept(2) answers where the process or the system has run out of something: no client's fault, and no one's turn.
_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

_buffers = threading.local()


def _receive_buffer(loop: asyncio.AbstractEventLoop) -> memoryview:
    """The buffer that received bytes are judged in: one for all connections of a thread.

    They share it because the engine is done with it before the loop reads again. Where the system fills a buffer in the
    background (the Proactor of Windows), each connection has its own.
    """
    if hasattr(loop, "_proactor"):
        return memoryview(bytearray(_BUFFER // 4))
    buffer: Optional[memoryview] = getattr(_buffers, "view", None)
    if buffer is None:
        buffer = _buffers.view = memoryview(bytearray(_BUFFER))
    return buffer


def _itself(protocol: ConnectionProtocol) -> ConnectionProtocol:
    return protocol


class Runtime:
    """What a server is made of, behind its public face. `make_handle` makes the handle of a connection."""

    #: Whether the loop has a thread of its own, in which no test runs.
    threaded = False

    def __init__(self, timeout: Optional[float], idle_timeout: Optional[float], transcript_limit: int,
                 make_handle: Callable[[Conversation], Any]) -> None:
        self.session = Session(self, timeout, idle_timeout)
        self.transcript = Transcript(0.0, transcript_limit)
        self.running = False
        self.attached_to_loop = False
        self.closed = False
        self.body: Optional[Body] = None
        self.client_exception: Optional[BaseException] = None
        self.loop: asyncio.AbstractEventLoop = cast(asyncio.AbstractEventLoop, None)  # until open
        self.waiters: Waiters
        self.protocols: dict[Conversation, ConnectionProtocol] = {}
        self.address: Any = None
        self.hint: Callable[[], Optional[str]] = lambda: None
        self.evidence: Callable[[Conversation], str] = lambda _: "ended its stream"
        self.stream_of: Callable[[Any], Optional[ClientStream]] = lambda _: None
        self._conditions: Optional[Conditions] = None
        self._probe: Optional[PeerProbe] = None
        self._achieved: dict[Conversation, list[int]] = {}
        self._accepting = True
        self._failing = 0
        self._addresses: frozenset[tuple[str, int]] = frozenset()
        self._make_handle = make_handle
        self._listeners: list[socket.socket] = []
        self._attaching: set[Attaching] = set()
        self._deferred: list[commands.Command] = []
        self._timer: Optional[asyncio.TimerHandle] = None
        self._errands: Optional[Errands] = None
        self._guard: Optional[DeadlockGuard] = None
        self.handlers: Optional[Handlers] = None
        self.handle_for_handler: Callable[[Conversation], Any] = make_handle
        self._report: Optional[Report] = None

    def bind(self, listeners: list[socket.socket]) -> None:
        """Take these listening sockets; clients wait in their backlog until there is a loop."""
        names = [listener.getsockname() for listener in listeners]
        self.address = names[0]
        self._addresses = frozenset(name[:2] for name in names if isinstance(name, tuple))
        self.running = True
        self._listeners = listeners

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Live in `loop`: accept the clients from now on. The time of steps that were written before begins now."""
        self.loop = loop
        self.attached_to_loop = True
        self.transcript.started = loop.time()
        self.waiters = Waiters(loop, self.error)
        for listener in self._listeners:
            # By number: for a socket, the selectors of 3.9 to 3.12 compose a message with its repr, only to drop it.
            loop.add_reader(listener.fileno(), self.accept_from, listener)
        if not self.threaded:
            self._guard = DeadlockGuard(self)
        self.session.begin_time(loop.time())
        self.perform()

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
        self._stop_listening()
        if not self.attached_to_loop:
            return
        if self.loop.is_closed():
            for protocol in self.protocols.values():
                protocol.abandon()
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attaching in self._attaching:
            attaching.cancel()
        self._attaching.clear()
        if self._errands is not None:
            self._errands.cancel()
        if self.handlers is not None:
            self.handlers.cancel()
        for protocol in list(self.protocols.values()):
            protocol.leave()
        self.protocols.clear()
        if self._probe is not None:
            self._probe.close()
        self.waiters.give_up()

    def abandon(self) -> None:
        """In a forked child: close our copies of the descriptors; the loop and the connections are the parent's."""
        self.closed = True
        self.session.leave()
        for listener in self._listeners:
            os.close(listener.detach())  # its close() may do more: remove the path of a Unix-domain socket
        for protocol in self.protocols.values():
            protocol.abandon()

    def _stop_listening(self) -> None:
        for listener in self._listeners:
            if self.attached_to_loop and not self.loop.is_closed():
                self.loop.remove_reader(listener.fileno())
            listener.close()
        self._listeners = []

    # Accepting.

    def accept(self) -> None:
        """Accept every client that waits."""
        for listener in self._listeners:
            self.accept_from(listener)

    def accept_from(self, listener: socket.socket) -> None:
        """Accept every client that waits at one of the listening sockets."""
        while True:
            try:
                accepted, peername = listener.accept()
            except OSError as error:
                if error.errno in _EXHAUSTED:
                    self.session.fail(None, None, Mismatch(f"a client can't be accepted: {error.strerror}"))
                    self.perform()
                break  # none waits (any more)
            if self._failing:
                self._fail(accepted, peername)
                continue
            accepted.setblocking(False)
            protocol = ConnectionProtocol(self, _receive_buffer(self.loop), peername)
            attaching = Attaching(self.loop, partial(_itself, protocol), accepted, self._attached)
            self._attaching.add(attaching)
            attaching.proceed()

    def _attached(self, attaching: Attaching) -> None:
        self._attaching.discard(attaching)

    @property
    def attaching(self) -> bool:
        """Whether a client was accepted that the engine has not been told of yet."""
        return bool(self._attaching)

    @property
    def listeners(self) -> list[socket.socket]:
        """The sockets that listen."""
        return self._listeners

    @property
    def accepted(self) -> list[socket.socket]:
        """The sockets of clients that were accepted, but have no protocol yet."""
        return [attaching.accepted for attaching in self._attaching]

    @property
    def wants_a_turn(self) -> bool:
        """Whether the script is waiting for nothing but the loop's next turn."""
        return bool(self._deferred or self._attaching or self.session.commands)

    def attached(self, protocol: ConnectionProtocol, now: float) -> Conversation:
        """A connection is ready; return its conversation."""
        number = self.session.accepted
        self.transcript.connected(now, number + 1, address_text(protocol.peername))
        conversation = self.session.reserve(number)
        self.protocols[conversation] = protocol
        protocol.conversation = conversation
        self._achieved[conversation] = protocol.achieved
        if self._conditions is not None and self._conditions.network is not None:
            self._conditions.apply(protocol, self._conditions.network)
        self.session.connected(now, protocol.peername)
        return conversation

    # The script.

    def after_script(self) -> None:
        """Carry out what new steps brought about; what they send waits for the sends written after them."""
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

    # What the engine asks (see engine.session.Host).

    def handle_for(self, conversation: Conversation) -> Any:
        """Make the handle of a connection."""
        return self._make_handle(conversation)

    def rebind(self, handle: Any, conversation: Conversation) -> None:
        """The script that was written by this handle is that of another connection."""
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
        """How the client ended its stream."""
        return self.evidence(conversation)

    def listens_at(self, address: tuple[str, int]) -> bool:
        """Whether an address, as a client sees it, is one of ours."""
        return address in self._addresses

    def listening_at(self) -> str:
        """The address, for reports."""
        return address_text(self.address)

    def error(self) -> ExpectationError:
        """A new exception for whoever asks after the end: the verdict, or that the server was left."""
        if self.session.failure is None:
            self.session.failure_of_leaving()
        from tcpclient_testing.report import ExpectationError, Report
        if self._report is None:
            from .advice import advice_on
            hint = self.hint() or advice_on(self.session.failure, self.transcript)
            self._report = Report.of(self.session, self.transcript, hint=hint)
        error = ExpectationError(self._report)
        error.client_exception = self.client_exception
        return error

    # Commands.

    def perform(self) -> None:
        """Carry out what the engine wants."""
        pending, table = self.session.commands, self._TABLE
        while pending:
            command = pending.pop(0)
            table[type(command)](self, command)

    def condemned(self) -> None:
        """The session was made to fail from outside: carry that out."""
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
            # What the client sent without waiting for this is in the socket by now: let it be read first. Two turns,
            # since what a turn's select() finds ready comes behind what was to be called in that turn anyway.
            self.loop.call_soon(self.loop.call_soon, self._send_late, command)

    def _send_late(self, command: commands.Send) -> None:
        if not self.session.over:
            self._protocol(command).send()
            self.perform()

    def _send_aside(self, command: commands.SendAside) -> None:
        self._protocol(command).send_aside(command.data)

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

    def _start_timer(self, command: commands.StartTimer) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.loop.call_at(command.deadline, self._tick, command.deadline)

    def _tick(self, deadline: float) -> None:
        self._timer = None
        now = self.loop.time()
        if now - deadline > _STANDSTILL or debugger_active():
            self.session.restart(now)
        for protocol in self.protocols.values():
            protocol.measure()
        self.session.tick(now)
        self.perform()

    def _wake(self, command: commands.Wake) -> None:
        self.waiters.wake(command.step)

    def _run_coroutine(self, command: commands.RunCoroutine) -> None:
        self.errands.compute(command)

    def _await(self, command: commands.Await) -> None:
        self.errands.hold(command)

    @property
    def errands(self) -> Errands:
        """The tasks that wait for something on behalf of steps; made when the first one does."""
        if self._errands is None:
            from .errands import Errands
            self._errands = Errands(self)
        return self._errands

    def _pause_reading(self, command: commands.PauseReading) -> None:
        self._protocol(command).pause_reading()

    def _resume_reading(self, command: commands.ResumeReading) -> None:
        self._protocol(command).resume_reading()

    def set_network(self, network: Optional[Network]) -> None:
        """Let connections that are accepted from now on have these network conditions; None is none."""
        if network is not None or self._conditions is not None:
            self.conditions.network = network

    def probe(self) -> Optional[PeerProbe]:
        """Whom to ask about the clients' sockets; None where the kernel does not tell."""
        if self._probe is None:
            from .inet_diag import PeerProbe, available
            if available():
                self._probe = PeerProbe()
        return self._probe

    @property
    def conditions(self) -> Conditions:
        """The network conditions; made, with what it takes, when a test sets some."""
        if self._conditions is None:
            from .pacing import Conditions
            self._conditions = Conditions()
        return self._conditions

    def _set_network(self, command: commands.SetNetwork) -> None:
        if command.for_all:
            self.set_network(command.network)
        if command.conversation is not None and (command.network is not None or self._conditions is not None):
            self.conditions.apply(self._protocol(command), command.network)

    def splits_of(self, conversation: Conversation) -> tuple[int, ...]:
        """Where the outgoing stream of a connection was split for certain."""
        return tuple(self._achieved.get(conversation, ()))

    def _set_accepting(self, command: commands.SetAccepting) -> None:
        if command.accepting == self._accepting:
            return
        self._accepting = command.accepting
        self.transcript.note(self.loop.time(), 0, "accepts connections again" if command.accepting
                             else "refuses connections")
        if command.accepting:
            for listener in self._listeners:
                listener.listen(BACKLOG)
                self.loop.add_reader(listener.fileno(), self.accept_from, listener)
        else:
            for listener in self._listeners:
                self.loop.remove_reader(listener.fileno())
            listeners, self._listeners = self._listeners, []
            try:
                self._listeners = refusing(listeners)
            except OSError as error:
                self.session.fail(None, None, Mismatch(
                    f"the port can't be kept while connections are refused: {error}"))

    def _fail_connections(self, command: commands.FailConnections) -> None:
        self._failing = command.count

    def _fail(self, accepted: socket.socket, peername: Any) -> None:
        """Reset a connection that is none of the script's."""
        self._failing -= 1
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
        accepted.close()
        self.transcript.note(self.loop.time(), 0, f"reset a connection from {address_text(peername)}, as "
                             f"fail_connections() says ({self._failing} to go)")

    def _start_tls(self, command: commands.StartTLS) -> None:
        self._protocol(command).start_tls(command.context, command.begun, starttls=self.session.tls_context is None)

    def _give_up(self, command: commands.GiveUp) -> None:
        self._stop_listening()
        for protocol in list(self.protocols.values()):
            protocol.reset("reset by the server: the script failed")
        self.waiters.give_up()
        if self.body is not None:
            self.body.interrupt()

    _TABLE: dict[type[commands.Command], Callable[[Runtime, Any], None]] = {
        commands.Send: _send,
        commands.SendAside: _send_aside,
        commands.StartHandler: _start_handler,
        commands.HalfClose: _half_close,
        commands.Close: _close,
        commands.ResetConnection: _reset,
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
