r"""A server without sockets, a loop or a clock: scripts are written on it, and what clients do is played by calls.

- Time is a number that `sleep` moves.
- What a client sends comes as a view into a buffer that is overwritten afterwards.
- What the engine sends stands on the `wire` of its connection. It counts as taken at once, or, with ``taking=False``,
  when `take` or `flush` says so.

        server = MemoryServer()
        server.expect_connect()
        server.expect_line(b"ping")
        server.send_line(b"pong")
        server.connect()
        server.receive(b"ping\r\n")
        server.connection().sent  # b"pong\r\n"
        server.verdict  # None
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from enum import Enum
from typing import Any, Callable, ClassVar, Optional, Union

from tcpclient_testing.engine import commands
from tcpclient_testing.engine.builder.expectations import ScriptMethods
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect
from tcpclient_testing.engine.steps.timing import UNSET, timing_of

__all__ = ["CLOSED", "HALF_CLOSED", "RESET", "MemoryConnection", "MemoryServer", "NotDone", "Over"]

__unittest = True

class End(Enum):
    """What stands on the wire when the server has ended its stream. No text: Python may warn if bytes meet that."""

    HALF_CLOSED = "half-closed"
    CLOSED = "closed"
    RESET = "reset"


HALF_CLOSED, CLOSED, RESET = End


class NotDone(Exception):
    """The result of a step that is not done was asked for."""


class Over(Exception):
    """A step that never will be done was asked for its result."""


class _Script(ScriptMethods):
    """The defaults of scripts."""

    def _default_framing(self) -> Framing:
        return LengthPrefixed(4)

    def _default_ending(self) -> bytes:
        return b"\r\n"

    def _server_context(self, context: Any) -> Any:
        return context


class Wire:
    """What goes over one connection, from the server to the client.

    - `items`: what the client gets: bytes, and then HALF_CLOSED, CLOSED or RESET
    - `writes`: the writes of the script that have been begun, each as its bytes
    - `reading`: whether the server reads from the client
    """

    __slots__ = ("items", "writes", "reading")

    def __init__(self) -> None:
        self.items: list[Union[bytes, End]] = []
        self.writes: list[bytes] = []
        self.reading = True


class MemoryConnection(_Script):
    """One connection of a `MemoryServer`: writes its script, and shows its wire."""

    def __init__(self, server: MemoryServer, conversation: Conversation) -> None:
        self._server = server
        self.conversation = conversation

    def _add(self, step: Step[Any]) -> None:
        self._server.session.add_to(self.conversation, step, self._server.now)
        self._server.written()

    def _add_rule(self, written: Any) -> None:
        self._server.session.add_rule(self.conversation, written, self._server.now)
        self._server.written()

    def _open_block(self) -> None:
        self._server.session.open_block(self.conversation, self._server.now)
        self._server.written()

    def _close_block(self, whole: bool) -> None:
        self._server.session.close_block(self.conversation, self._server.now)
        self._server.written()

    @property
    def wire(self) -> list[Union[bytes, End]]:
        """What the client gets: bytes, and then HALF_CLOSED, CLOSED or RESET."""
        return self._server.wire(self.conversation.number).items

    @property
    def writes(self) -> list[bytes]:
        """The writes that have been begun, each as its bytes."""
        return self._server.wire(self.conversation.number).writes

    @property
    def reading(self) -> bool:
        """Whether the server reads from the client."""
        return self._server.wire(self.conversation.number).reading

    @property
    def sent(self) -> bytes:
        """All bytes on the wire."""
        return b"".join(item for item in self.wire if isinstance(item, bytes))


class MemoryServer(_Script):
    """A server without sockets.

    - `timeout`, `idle_timeout`: as of a `MockTCPServer`, in seconds
    - `taking`: whether what is sent counts as taken at once
    - `at_once`: whether each send is written when it is due; else sends written one after another are one write
    - `sees_reading`: whether it can see how much the client has read: see `read`
    """

    #: Its clock is exact.
    tick = 0.0

    def __init__(self, *, timeout: Optional[float] = 5.0, idle_timeout: Optional[float] = 30.0,
                 taking: bool = True, at_once: bool = False, pipelining: bool = True,
                 sees_reading: bool = False) -> None:
        self.now = 0.0
        self.taking = taking
        self.at_once = at_once
        self.sees_reading = sees_reading
        self.session = Session(self, timeout, idle_timeout)
        self.session.environment.configure(pipelining=pipelining)
        self.deadline: Optional[float] = None
        self.gave_up = 0
        self.woken: list[Step[Any]] = []
        self.computing: list[commands.RunCoroutine] = []
        self.awaited: list[commands.Await] = []
        self.upgrading: list[commands.StartTLS] = []
        self.watched: list[Conversation] = []
        self.handed_over: list[int] = []
        self.settings: list[commands.Command] = []
        self.deferred: list[commands.Command] = []
        self.ending = "half-closed"
        self.waits: dict[int, tuple[str, object]] = {}
        self.looks: list[float] = []
        self._reads: dict[int, bool] = {}
        self._wires: dict[int, Wire] = {}

    # The script.

    def expect_connect(self, *, timeout: Any = UNSET, within: Any = None,
                       after: Any = None, label: Optional[str] = None) -> ExpectConnect[MemoryConnection]:
        """Begin the script of the next connection."""
        step: ExpectConnect[MemoryConnection] = ExpectConnect(origin_of(sys._getframe(1), label),
                                                 timing_of("expect_connect", timeout, within, after))
        self.session.add_connection(step, self.now)
        self.written()
        return step

    def _add(self, step: Step[Any]) -> None:
        self.session.add(step, self.now)
        self.written()

    def _add_rule(self, written: Any) -> None:
        self.session.add_rule(None, written, self.now)
        self.written()

    def _open_block(self) -> None:
        self.session.open_pool(self.now)
        self.written()

    def _close_block(self, whole: bool) -> None:
        self.session.close_pool(self.now, whole=whole)
        self.written()

    def written(self) -> None:
        """Steps were added: what they send waits for those written after them, as in the real adapter."""
        pending = self.session.environment.commands
        if not self.at_once:
            self.deferred += [command for command in pending if type(command) is commands.Send]
            pending[:] = [command for command in pending if type(command) is not commands.Send]
        self.perform()

    def turn(self) -> None:
        """The loop turns: what was deferred is done."""
        deferred, self.deferred = self.deferred, []
        if not self.session.over:
            self.session.environment.commands[:0] = deferred
        self.perform()

    # Events.

    def connection(self, number: int = 1) -> MemoryConnection:
        """Return connection `number`, made if nobody has mentioned it yet."""
        handle: MemoryConnection = self.conversation(number).handle
        return handle

    def wire(self, number: int = 1) -> Wire:
        """Return what goes over connection `number`."""
        return self._wires.setdefault(number, Wire())

    def conversation(self, number: int = 1) -> Conversation:
        """Return the engine's part of connection `number`."""
        return self.session.connections.reserve(number - 1)

    def tell(self, number: int, event: str, *arguments: Any, **options: Any) -> None:
        """Report something to the engine: `event` is the name of the conversation's method."""
        self.turn()
        getattr(self.conversation(number), event)(self.now, *arguments, **options)
        self.perform()

    def connect(self) -> int:
        """A client connects; return the connection's number."""
        self.turn()
        conversation = self.session.connected(self.now, ("127.0.0.1", 50000 + self.session.environment.accepted))
        self.perform()
        return conversation.number

    def receive(self, data: bytes, number: int = 1) -> None:
        """The client's next bytes arrive, in a buffer that is used again at once."""
        buffer = bytearray(data)
        self.tell(number, "received", memoryview(buffer))
        buffer[:] = b"\xee" * len(buffer)

    def half_close(self, number: int = 1) -> None:
        """The client ends its stream."""
        self.tell(number, "half_closed")

    def reset_by_client(self, number: int = 1) -> None:
        """The client resets the connection."""
        self.tell(number, "was_reset")

    def take(self, count: int, number: int = 1) -> None:
        """The client's system takes some of what is being sent."""
        self.tell(number, "progressed", count)

    def flush(self, number: int = 1) -> None:
        """The client's system takes everything that is being sent."""
        self.tell(number, "flushed")

    def read(self, number: int = 1, *, rest: bool = True) -> None:
        """The client reads; `rest` says whether it leaves something unread. The engine hears of it in the next look."""
        self._reads[number] = rest

    def _look(self) -> None:
        """Look how much the clients have read, as the real adapter does before each tick."""
        for conversation in self.session.conversations:
            if conversation.outbox.unread:
                self.looks.append(self.now)
                rest = self._reads.pop(conversation.number, None)
                conversation.client_read(self.now, progress=rest is not None, unread=rest is not False)

    def sleep(self, seconds: float) -> None:
        """Let time pass; `Session.tick` is called when it has asked for it, and only then."""
        self.turn()
        end = self.now + seconds
        while self.deadline is not None and self.deadline <= end:
            self.now, self.deadline = max(self.deadline, self.now), None
            self._look()
            self.session.tick(self.now)
            self.perform()
        self.now = end

    # Commands.

    def perform(self) -> None:
        """Carry out what the engine wants."""
        pending = self.session.environment.commands
        while pending:
            command = pending.pop(0)
            self._TABLE[type(command)](self, command)

    def _on_send(self, command: Any) -> None:
        data = b"".join(self.conversation(command.number).outbox.take())
        wire = self.wire(command.number)
        wire.writes.append(data)
        if data:
            wire.items.append(data)
        self._taken(command.number)

    def _on_send_interleaved(self, command: Any) -> None:
        self.wire(command.number).items.append(command.data)
        self._taken(command.number)

    def _on_half_close(self, command: Any) -> None:
        self.wire(command.number).items.append(CLOSED if command.drain else HALF_CLOSED)
        self._taken(command.number)

    def _on_close(self, command: Any) -> None:
        self.conversation(command.number).inbox.close()
        wire = self.wire(command.number).items
        if CLOSED not in wire:
            wire.append(CLOSED)

    def _on_reset_connection(self, command: Any) -> None:
        self.wire(command.number).items.append(RESET)
        self.conversation(command.number).inbox.close()
        self._taken(command.number)

    def _taken(self, number: int) -> None:
        if self.taking:
            self.conversation(number).flushed(self.now)

    def _on_pause_reading(self, command: Any) -> None:
        self.wire(command.number).reading = False

    def _on_resume_reading(self, command: Any) -> None:
        self.wire(command.number).reading = True

    def _on_start_handler(self, command: Any) -> None:
        self.handed_over.append(command.number)

    def _on_set_network(self, command: Any) -> None:
        self.settings.append(command)

    def _on_set_accepting(self, command: Any) -> None:
        self.settings.append(command)

    def _on_fail_connections(self, command: Any) -> None:
        self.settings.append(command)

    def _on_start_tls(self, command: Any) -> None:
        self.upgrading.append(command)

    def _on_watch_reset(self, command: Any) -> None:
        self.watched.append(self.conversation(command.number))

    def _on_run_coroutine(self, command: Any) -> None:
        self.computing.append(command)

    def _on_await(self, command: Any) -> None:
        self.awaited.append(command)

    def _on_start_timer(self, command: Any) -> None:
        self.deadline = command.deadline

    def _on_wake(self, command: Any) -> None:
        self.woken.append(command.step)

    def _on_give_up(self, command: Any) -> None:
        self.gave_up += 1

    _TABLE: ClassVar[dict[type[commands.Command], Callable[[MemoryServer, Any], None]]] = {
        commands.Send: _on_send,
        commands.SendInterleaved: _on_send_interleaved,
        commands.HalfClose: _on_half_close,
        commands.Close: _on_close,
        commands.ResetConnection: _on_reset_connection,
        commands.PauseReading: _on_pause_reading,
        commands.ResumeReading: _on_resume_reading,
        commands.StartHandler: _on_start_handler,
        commands.SetNetwork: _on_set_network,
        commands.SetAccepting: _on_set_accepting,
        commands.FailConnections: _on_fail_connections,
        commands.StartTLS: _on_start_tls,
        commands.WatchReset: _on_watch_reset,
        commands.RunCoroutine: _on_run_coroutine,
        commands.Await: _on_await,
        commands.StartTimer: _on_start_timer,
        commands.Wake: _on_wake,
        commands.GiveUp: _on_give_up,
    }

    def compute(self) -> None:
        """Let the coroutines that compute replies run to their end."""
        waiting, self.computing = self.computing, []
        for command in waiting:
            value, error = _run(command.coroutine)
            assert command.number is not None
            self.tell(command.number, "computed", command.target, value, error)

    def release(self) -> None:
        """Let the events happen that steps are held for."""
        waiting, self.awaited = self.awaited, []
        for command in waiting:
            assert command.number is not None
            self.tell(command.number, "released", command.step)

    def upgraded(self, info: Any = None) -> None:
        """Let the TLS handshakes end well."""
        waiting, self.upgrading = self.upgrading, []
        for command in waiting:
            assert command.number is not None
            self.tell(command.number, "upgraded", info)

    # What the engine asks of its host.

    def handle_for(self, conversation: Conversation) -> MemoryConnection:
        """Make the handle of a connection."""
        return MemoryConnection(self, conversation)

    def rebind(self, handle: MemoryConnection, conversation: Conversation) -> None:
        """The script that was written by this handle is that of another connection."""
        handle.conversation = conversation

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait for a step; here, that is noted, and once resumed the step has to be done."""
        step.cursor.wake(step)
        yield step
        if not step.satisfied:
            raise Over(str(step))

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        """Raise what `Step.result` has to."""
        raise Over(str(step)) if self.session.over else NotDone(str(step))

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        """The exception of a step that is not satisfied."""
        return Over(str(step))

    def listening_at(self) -> str:
        """The address."""
        return "127.0.0.1:4711"

    def status_of(self, step: Step[Any]) -> str:
        """The state of a step."""
        return self.session.status_of(step)

    def standstill(self, number: int) -> Optional[tuple[str, object]]:
        """What is waited for on a connection."""
        return self.waits.get(number)

    def ending_of(self, number: int) -> str:
        """How the client ended its stream."""
        return self.ending

    # The verdict.

    @property
    def verdict(self) -> Any:
        """None while nothing has failed; else (number of the connection, index of the step, text)."""
        failure = self.session.failure
        if failure is None:
            return None
        return (failure.number, failure.step and failure.step.index,
                failure.mismatch.summary)


def _run(coroutine: Any) -> tuple[Any, Optional[BaseException]]:
    """Run a coroutine that never waits to its end: its value, or what it raised."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value, None
    except BaseException as error:  # noqa: BLE001 - the test's own code: the engine reports it
        return None, error
    raise AssertionError("the coroutine waits")


