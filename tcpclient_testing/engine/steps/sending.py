"""Actions that send or end something: the steps that the server carries out with its own stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.commands import HalfClose, ResetConnection, RunCoroutine
from tcpclient_testing.engine.connection.payload import Payload
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted, seconds, shorten

from .base import DONE, QUEUED, WAITING, Outcome, Step, Timing

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["Disconnect", "ResetStep", "SendBytes", "SendEof"]

__unittest = True


class Action(Step[None]):
    """A step that the server carries out when its turn comes."""

    __slots__ = ()
    is_expectation = False

    def written(self) -> None:
        return None

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"{self.method}() was not done within {seconds(duration)}")


class SendBytes(Action, Payload):
    """`send_bytes`, `send_frame`, `send_line`: send literal bytes, or the payload that a callable returns."""

    __slots__ = ("method", "source", "encode", "data")
    sends = True
    free = True

    def __init__(self, method: str, source: Union[bytes, Callable[[Any], Any]],
                 encode: Optional[Callable[[bytes], bytes]], origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.method = method
        self.source = source
        self.encode = encode
        self.data: Optional[bytes] = None

    def arguments(self) -> str:
        if isinstance(self.source, bytes):
            return shorten(self.source)
        return getattr(self.source, "__qualname__", None) or repr(self.source)

    def sender(self) -> str:
        return f"{self.method}()"

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        source = self.source
        if isinstance(source, bytes):
            self.data = source if self.encode is None else self.encode(source)
            return None
        outcome = self.compute(conversation.last_result())
        if outcome is None or isinstance(outcome, Mismatch):
            return outcome
        conversation.command(RunCoroutine(conversation, self, outcome))
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        if self.data is None:
            return WAITING
        if conversation.reset and not conversation.cut_off:
            size = counted(len(self.data), "byte")
            return Mismatch(f"the client reset the connection before {size} {shorten(self.data)} could be sent")
        if not self.data:
            return DONE if not conversation.sending else QUEUED
        conversation.outbox.append(self.data)
        return QUEUED

    def cut_short(self, conversation: Conversation) -> Mismatch:
        """Describe the failure: the client reset the connection in the middle of these bytes."""
        size = counted(len(self.data or b""), "byte")
        return Mismatch(f"the client reset the connection when it had taken {conversation.taken_of(self)} of {size}")

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        if self.data is None:
            return Mismatch(f"the coroutine of {self.method}() gave nothing within {seconds(duration)}")
        return Mismatch(f"the client does not read: it took {conversation.taken_of(self)} of "
                        f"{counted(len(self.data), 'byte')}, and nothing for {seconds(duration)}" if silent else
                        f"the client read too slowly: it took {conversation.taken_of(self)} of "
                        f"{counted(len(self.data), 'byte')} within {seconds(duration)}")


class _Flushing(Action):
    """An action that gives one command, and is done when the adapter reports that everything was handed over."""

    __slots__ = ("begun",)

    def __init__(self, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.begun = False

    def order(self, conversation: Conversation) -> None:
        """Give the command to the adapter."""
        raise NotImplementedError

    def proceed(self, conversation: Conversation) -> Outcome:
        if not self.begun:
            if conversation.interleaved_under_way and not conversation.reset:
                return WAITING
            self.begun = True
            if conversation.reset:
                return self.after_reset(conversation)
            self.order(conversation)
        return WAITING

    def after_reset(self, conversation: Conversation) -> Outcome:
        """Return the outcome if the client has already reset the connection."""
        return Mismatch(f"the client reset the connection before {self.method}()")

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"the client does not read: what was sent before {self.method}() was not taken within "
                        f"{seconds(duration)}")


class SendEof(_Flushing):
    """`send_eof()`: half-close. The client reads an end of stream, and may go on sending."""

    __slots__ = ()
    method = "send_eof"

    def order(self, conversation: Conversation) -> None:
        conversation.silenced = True
        conversation.command(HalfClose(conversation, False))


class Disconnect(_Flushing):
    """`disconnect()`: deliver everything, end the stream with a FIN, then read on without judging."""

    __slots__ = ()
    method = "disconnect"

    def order(self, conversation: Conversation) -> None:
        conversation.drain()
        conversation.command(HalfClose(conversation, True))


class ResetStep(_Flushing):
    """`reset()`: deliver what was sent before, then send a RST."""

    __slots__ = ()
    method = "reset"

    def order(self, conversation: Conversation) -> None:
        conversation.drain()
        conversation.command(ResetConnection(conversation))

    def after_reset(self, conversation: Conversation) -> Outcome:
        conversation.drain()
        return DONE
