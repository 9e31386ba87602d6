"""A server without sockets, a loop or a clock: scripts are written on it, and events told it, by hand.

It is the engine's host in the tests of the engine. Time is a number that `sleep` moves; what arrives comes as a view
into a buffer that is overwritten afterwards; what the engine sends stands on the `wire` of its connection.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from typing import Any, Optional, Union

from tcpclient_testing.engine import commands
from tcpclient_testing.engine.builder.expectations import ScriptMethods
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.events import (
    Computed,
    Flushed,
    HalfClosed,
    Progressed,
    Received,
    Released,
    Reset,
    Upgraded,
)
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import UNSET, Step, timing_of
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect

__all__ = ["Driver", "Handle", "NotDone", "Over", "run"]

HALF_CLOSED, CLOSED, RESET = "half-closed", "closed", "reset"


class NotDone(Exception):
    """What this host raises for the result of a step that is not done."""


class Over(Exception):
    """What this host raises for a step that never will be done."""


class _Script(ScriptMethods):
    """What scripts are written with where they say nothing else."""

    def _default_framing(self) -> Framing:
        return LengthPrefixed(4)

    def _default_ending(self) -> bytes:
        return b"\r\n"

    def _server_context(self, context: Any) -> Any:
        return context


class Handle(_Script):
    """One connection of a driver: writes its script, and keeps its wire."""

    def __init__(self, driver: Driver, conversation: Conversation) -> None:
        self.driver = driver
        self.conversation = conversation
        #: What the client gets: bytes, and then "half-closed", "closed" or "reset".
        self.wire: list[Union[bytes, str]] = []
        #: The writes that have been begun, each as its bytes.
        self.writes: list[bytes] = []
        self.reading = True

    def _add(self, step: Step[Any]) -> None:
        self.driver.session.add_to(self.conversation, step, self.driver.now)
        self.driver.written()

    def _add_rule(self, written: Any) -> None:
        self.driver.session.add_rule(self.conversation, written, self.driver.now)
        self.driver.written()

    def _open_block(self) -> None:
        self.driver.session.open_block(self.conversation, self.driver.now)
        self.driver.written()

    def _close_block(self, whole: bool) -> None:
        self.driver.session.close_block(self.conversation, self.driver.now)
        self.driver.written()

    @property
    def sent(self) -> bytes:
        """All bytes on the wire."""
        return b"".join(item for item in self.wire if isinstance(item, bytes))


class Driver(_Script):
    """A server without sockets. With ``taking=False`` nothing that it sends is taken until `taken` or `flush` says."""

    def __init__(self, *, timeout: Optional[float] = 5.0, idle_timeout: Optional[float] = 30.0,
                 taking: bool = True, at_once: bool = False) -> None:
        self.now = 0.0
        self.taking = taking
        self.at_once = at_once
        self.session = Session(self, timeout, idle_timeout)
        self.deadline: Optional[float] = None
        self.gave_up = 0
        self.woken: list[Step[Any]] = []
        self.computing: list[commands.RunCoroutine] = []
        self.awaited: list[commands.Await] = []
        self.upgrading: list[commands.StartTLS] = []
        self.watched: list[Any] = []
        self.deferred: list[commands.Command] = []
        self.ending = "half-closed"

    # The script.

    def expect_connect(self, *, timeout: Any = UNSET, within: Any = None, after: Any = None) -> Step[Any]:
        """Begin the script of the next connection."""
        step: ExpectConnect[Any] = ExpectConnect(origin_of(sys._getframe(1)),
                                                 timing_of("expect_connect", timeout, within, after))
        self.session.add_connection(step, self.now)
        self.written()
        return step

    def _add(self, step: Step[Any]) -> None:
        tail = self.session.tail
        if tail is not None and step.free:
            self.session.append(tail, step)
        else:
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
        pending = self.session.commands
        if not self.at_once:
            self.deferred += [command for command in pending if type(command) is commands.Send]
            pending[:] = [command for command in pending if type(command) is not commands.Send]
        self.perform()

    def turn(self) -> None:
        """The loop turns: what was deferred is done."""
        deferred, self.deferred = self.deferred, []
        if not self.session.over:
            self.session.commands[:0] = deferred
        self.perform()

    # Events.

    def handle(self, number: int = 1) -> Any:
        """The handle of connection `number`, made if nobody has mentioned it yet."""
        return self.session.reserve(number - 1).handle

    def tell(self, number: int, event: Any) -> None:
        """Tell a conversation an event."""
        self.turn()
        self.session.reserve(number - 1).receive(event)
        self.perform()

    def connect(self) -> int:
        """A client connects; return the connection's number."""
        self.turn()
        conversation = self.session.connected(self.now, ("127.0.0.1", 50000 + self.session.accepted))
        self.perform()
        return conversation.number

    def receive(self, data: bytes, number: int = 1) -> None:
        """The client's next bytes arrive, in a buffer that is used again at once."""
        buffer = bytearray(data)
        self.tell(number, Received(self.now, memoryview(buffer)))
        buffer[:] = b"\xee" * len(buffer)

    def half_close(self, number: int = 1) -> None:
        """The client ends its stream."""
        self.tell(number, HalfClosed(self.now))

    def reset_by_client(self, number: int = 1) -> None:
        """The client resets the connection."""
        self.tell(number, Reset(self.now))

    def take(self, count: int, number: int = 1) -> None:
        """The client's system takes some of what is being sent."""
        self.tell(number, Progressed(self.now, count))

    def flush(self, number: int = 1) -> None:
        """The client's system takes everything that is being sent."""
        self.tell(number, Flushed(self.now))

    def sleep(self, seconds: float) -> None:
        """Let time pass; `Session.tick` is called when it has asked for it, and only then."""
        self.turn()
        end = self.now + seconds
        while self.deadline is not None and self.deadline <= end:
            self.now, self.deadline = max(self.deadline, self.now), None
            self.session.tick(self.now)
            self.perform()
        self.now = end

    # Commands.

    def perform(self) -> None:
        """Carry out what the engine wants."""
        pending = self.session.commands
        while pending:
            command = pending.pop(0)
            getattr(self, "_on_" + type(command).__name__)(command)

    def _on_Send(self, command: Any) -> None:
        data = b"".join(command.conversation.take_output())
        handle = command.conversation.handle
        handle.writes.append(data)
        if data:
            handle.wire.append(data)
        if self.taking:
            command.conversation.receive(Flushed(self.now))

    def _on_SendInterleaved(self, command: Any) -> None:
        command.conversation.handle.wire.append(command.data)
        if self.taking:
            command.conversation.receive(Flushed(self.now))

    def _on_HalfClose(self, command: Any) -> None:
        command.conversation.handle.wire.append(CLOSED if command.drain else HALF_CLOSED)
        if self.taking:
            command.conversation.receive(Flushed(self.now))

    def _on_Close(self, command: Any) -> None:
        command.conversation.closed = True
        if CLOSED not in command.conversation.handle.wire:
            command.conversation.handle.wire.append(CLOSED)

    def _on_ResetConnection(self, command: Any) -> None:
        command.conversation.handle.wire.append(RESET)
        command.conversation.closed = True
        if self.taking:
            command.conversation.receive(Flushed(self.now))

    def _on_PauseReading(self, command: Any) -> None:
        command.conversation.handle.reading = False

    def _on_ResumeReading(self, command: Any) -> None:
        command.conversation.handle.reading = True

    def _on_StartTLS(self, command: Any) -> None:
        self.upgrading.append(command)

    def _on_WatchReset(self, command: Any) -> None:
        self.watched.append(command.conversation)

    def _on_RunCoroutine(self, command: Any) -> None:
        self.computing.append(command)

    def _on_Await(self, command: Any) -> None:
        self.awaited.append(command)

    def _on_StartTimer(self, command: Any) -> None:
        self.deadline = command.deadline

    def _on_Wake(self, command: Any) -> None:
        self.woken.append(command.step)

    def _on_GiveUp(self, command: Any) -> None:
        self.gave_up += 1

    def compute(self) -> None:
        """Let the coroutines that compute replies run to their end."""
        waiting, self.computing = self.computing, []
        for command in waiting:
            value, error = run(command.coroutine)
            assert command.conversation is not None
            self.tell(command.conversation.number, Computed(self.now, command.step, value, error))

    def release(self) -> None:
        """Let the events happen that steps are held for."""
        waiting, self.awaited = self.awaited, []
        for command in waiting:
            assert command.conversation is not None
            self.tell(command.conversation.number, Released(self.now, command.step))

    def upgraded(self, info: Any = None) -> None:
        """Let the TLS handshakes end well."""
        waiting, self.upgrading = self.upgrading, []
        for command in waiting:
            assert command.conversation is not None
            self.tell(command.conversation.number, Upgraded(self.now, info))

    # What the engine asks of its host.

    def handle_for(self, conversation: Conversation) -> Handle:
        """Make the handle of a connection."""
        return Handle(self, conversation)

    def rebind(self, handle: Handle, conversation: Conversation) -> None:
        """The script that was written by this handle is that of another connection."""
        handle.conversation = conversation

    def wait_for(self, step: Step[Any]) -> Generator[Any, None, None]:
        """Wait for a step; here, that is noted, and once resumed the step has to be done."""
        step.conversation.wake(step)
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

    def ending_of(self, conversation: Conversation) -> str:
        """How the client ended its stream."""
        return self.ending

    # The verdict.

    @property
    def verdict(self) -> Any:
        """None while nothing has failed; else (number of the connection, index of the step, text)."""
        failure = self.session.failure
        if failure is None:
            return None
        return (failure.conversation and failure.conversation.number, failure.step and failure.step.index,
                failure.mismatch.summary)


def run(coroutine: Any) -> tuple[Any, Optional[BaseException]]:
    """Run a coroutine that never waits to its end: its value, or what it raised."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value, None
    except BaseException as error:
        return None, error
    raise AssertionError("the coroutine waits")


