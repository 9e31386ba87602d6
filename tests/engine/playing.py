"""A server without sockets or a clock: scripts played against streams that are divided at will."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Optional

from tcpclient_testing.engine import commands
from tcpclient_testing.engine.builder.expectations import ScriptMethods
from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.conversation.events import Computed, Flushed, HalfClosed, Received, Reset
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.session.session import Session
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.lifecycle import ExpectConnect


class Handle(ScriptMethods):
    """Writes the script of one connection, or of a whole `Play`."""

    def __init__(self, play: Play, conversation: Optional[Conversation] = None) -> None:
        self.play = play
        self.conversation = conversation

    def rebind(self, conversation: Conversation) -> None:
        self.conversation = conversation

    def _add(self, step: Step[Any]) -> None:
        session, now = self.play.session, self.play.now
        if self.conversation is None:
            session.add(step, now)
        else:
            session.add_to(self.conversation, step, now)
        self.play.perform()

    def _add_rule(self, written: Any) -> None:
        self.play.session.add_rule(self.conversation, written, self.play.now)
        self.play.perform()

    def _open_block(self) -> None:
        if self.conversation is None:
            self.play.session.open_pool(self.play.now)
        else:
            self.play.session.open_block(self.conversation, self.play.now)
        self.play.perform()

    def _close_block(self, whole: bool) -> None:
        if self.conversation is None:
            self.play.session.close_pool(self.play.now, whole=whole)
        else:
            self.play.session.close_block(self.conversation, self.play.now)
        self.play.perform()

    def _default_framing(self) -> Framing:
        return LengthPrefixed(1)

    def _default_ending(self) -> bytes:
        return b"\r\n"

    def _server_context(self, context: Any) -> Any:
        return context


class Play:
    """The adapter of the engine: `sent` is what each connection was sent, in writes, and `closed` who was closed.

    With ``eager=False`` nothing is taken by the operating system before `flush()`.
    """

    def __init__(self, *, timeout: Optional[float] = 5.0, pipelining: bool = True, eager: bool = True) -> None:
        self.session = Session(self, timeout, None)
        self.session.pipelining = pipelining
        self.server = Handle(self)
        self.eager = eager
        self.now = 0.0
        self.sent: dict[int, list[bytes]] = {}
        self.waiting: list[Conversation] = []
        self.coroutines: list[commands.RunCoroutine] = []
        self.handed: list[Conversation] = []
        self.timer: Optional[float] = None

    # The script.

    def expect_connect(self) -> Handle:
        """Begin a script; return the handle of its connection."""
        step: ExpectConnect[Any] = ExpectConnect(((self.expect_connect.__func__.__code__, 0),))  # type: ignore[attr-defined]
        self.session.add_connection(step, self.now)
        self.perform()
        return step.conversation.handle  # type: ignore[no-any-return]

    # The clients.

    def connect(self) -> Conversation:
        """A client connects."""
        conversation = self.session.connected(self.now, ("127.0.0.1", 50000 + self.session.accepted))
        self.perform()
        return conversation

    def receive(self, conversation: Conversation, *chunks: bytes) -> None:
        """A client sends; the buffer of each chunk is overwritten afterwards."""
        for chunk in chunks:
            buffer = bytearray(chunk)
            conversation.receive(Received(self.now, memoryview(buffer)))
            self.perform()
            buffer[:] = b"\xee" * len(buffer)

    def end(self, conversation: Conversation) -> None:
        """A client ends its stream."""
        conversation.receive(HalfClosed(self.now))
        self.perform()

    def reset(self, conversation: Conversation) -> None:
        """A client resets the connection."""
        conversation.receive(Reset(self.now))
        self.perform()

    def wait(self, seconds: float) -> None:
        """Time passes."""
        end = self.now + seconds
        while self.timer is not None and self.timer <= end:
            self.now, self.timer = max(self.now, self.timer), None
            self.session.tick(self.now)
            self.perform()
        self.now = end

    def flush(self) -> None:
        """The operating system takes all that was written."""
        while self.waiting:
            self.waiting.pop(0).receive(Flushed(self.now))
            self.perform()

    def compute(self, value: Any) -> None:
        """The coroutine that was begun first ends."""
        command = self.coroutines.pop(0)
        command.coroutine.close()
        assert command.conversation is not None
        command.conversation.receive(Computed(self.now, command.step, value, None))
        self.perform()

    def stream(self, number: int = 1) -> bytes:
        """All that connection `number` was sent."""
        return b"".join(self.sent.get(number, ()))

    @property
    def summary(self) -> str:
        """The verdict's one line; empty if there is none."""
        failure = self.session.failure
        return "" if failure is None else failure.mismatch.summary

    # What the engine asks.

    def perform(self) -> None:
        """Carry out the commands."""
        pending = self.session.commands
        while pending:
            command = pending.pop(0)
            conversation = command.conversation
            if isinstance(command, commands.StartTimer):
                self.timer = command.deadline
            elif isinstance(command, commands.RunCoroutine):
                self.coroutines.append(command)
            elif conversation is None:
                continue
            elif isinstance(command, commands.Send):
                self._write(conversation, conversation.take_output())
            elif isinstance(command, commands.SendInterleaved):
                self._write(conversation, [command.data])
            elif isinstance(command, (commands.HalfClose, commands.ResetConnection)):
                conversation.receive(Flushed(self.now))
            elif isinstance(command, commands.Close):
                conversation.closed = True
            elif isinstance(command, commands.StartHandler):
                self.handed.append(conversation)

    def _write(self, conversation: Conversation, chunks: Iterable[bytes]) -> None:
        self.sent.setdefault(conversation.number, []).append(b"".join(chunks))
        if self.eager:
            conversation.receive(Flushed(self.now))
        else:
            self.waiting.append(conversation)

    def handle_for(self, conversation: Conversation) -> Handle:
        return Handle(self, conversation)

    def rebind(self, handle: Handle, conversation: Conversation) -> None:
        handle.rebind(conversation)

    def wait_for(self, step: Step[Any]) -> Any:
        step.conversation.wake(step)
        raise AssertionError("nobody can wait here")

    def raise_unsatisfied(self, step: Step[Any], timeout: Optional[float]) -> None:
        raise AssertionError(f"{step} is not satisfied")

    def exception_of(self, step: Step[Any], timeout: Optional[float]) -> Optional[BaseException]:
        return None

    def listening_at(self) -> str:
        return "127.0.0.1:1"

    def ending_of(self, conversation: Conversation) -> str:
        return "ended its stream"
