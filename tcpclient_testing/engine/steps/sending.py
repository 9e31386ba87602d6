"""Actions that send or end something: the steps that the server carries out with its own stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.callables import InContext
from tcpclient_testing.engine.commands import HalfClose, ResetConnection, RunCoroutine
from tcpclient_testing.engine.connection.chunks import Chunks
from tcpclient_testing.engine.connection.payload import Payload
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import brief, counted, function_name, seconds, shorten

from .base import DONE, NOTHING, QUEUED, THE_CLIENTS_END, WAITING, Outcome, Step
from .timing import Timing

if TYPE_CHECKING:
    from .base import Context

__all__ = ["Disconnect", "ResetStep", "SendBytes", "SendEof"]

__unittest = True


class Action(Step[None]):
    """A step that the server carries out when its turn comes."""

    __slots__ = ()
    is_expectation = False

    def written(self) -> None:
        return None

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"{self.method}() was not done within {seconds(duration)}")


class SendBytes(Action, Payload):
    """`send_bytes`, `send_frame`, `send_line`: send literal bytes, or the payload that a callable returns.

    `source` may also be an iterator of chunks. Then there is one write after another, until the iterator has ended.
    """

    __slots__ = ("method", "source", "encode", "data", "chunks")
    sends = True
    free = True

    def __init__(self, method: str, source: Union[bytes, Callable[[Any], Any]],
                 encode: Optional[Callable[[bytes], bytes]], origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.method = method
        self.source = source
        self.encode = encode
        self.data: Optional[bytes] = None
        self.chunks: Optional[Chunks] = None

    def arguments(self) -> str:
        if isinstance(self.source, bytes):
            return shorten(self.source)
        return function_name(self.source)

    def sender(self) -> str:
        return f"{self.method}()"

    def begin(self, context: Context) -> Optional[Mismatch]:
        source = self.source
        if isinstance(source, bytes):
            self.data = source if self.encode is None else self.encode(source)
            return None
        if isinstance(source, InContext):
            iterator: Any = source.function
            if hasattr(iterator, "__next__"):
                self.chunks = Chunks(iterator, self.sender(), source.context.run)
                return None
        outcome = self.compute(context.last_result())
        if outcome is None or isinstance(outcome, Mismatch):
            return outcome
        context.environment.commands.append(RunCoroutine(context.number, self, outcome))
        return None

    def proceed(self, context: Context) -> Outcome:
        if self.data is None:
            return WAITING if self.chunks is None else self._proceed_chunks(context, self.chunks)
        if context.inbox.gone and not context.outbox.cut_off:
            if context.script.accepts_hang_up(self.index):
                return DONE
            size = counted(len(self.data), "byte")
            return Mismatch(f"{_hung_up(context)} before {size} {brief(self.data)} could be sent")
        outbox = context.outbox
        if not self.data and not outbox.sending:
            return DONE
        outbox.queue(self.data, self.index)
        return QUEUED

    def _proceed_chunks(self, context: Context, chunks: Chunks) -> Outcome:
        outbox = context.outbox
        if outbox.sending and outbox.unfinished:
            return WAITING
        if outbox.cut_off:
            return DONE  # a fault has ended our stream: an iterator without an end would go on for ever
        if context.inbox.gone:
            return DONE if context.script.accepts_hang_up(self.index) else Mismatch(
                f"{_hung_up(context)} when it had been sent {counted(chunks.given, 'byte')} of {self}")
        data = chunks.take()
        if data is None:
            return WAITING if outbox.sending else DONE
        if isinstance(data, Mismatch):
            return data
        outbox.queue(data, self.index, unfinished=True)
        return QUEUED

    def cut_short(self, context: Context) -> Mismatch:
        """Describe the failure: the client hung up in the middle of these bytes."""
        if self.chunks is not None:
            given = counted(self.chunks.given, "byte")
            return Mismatch(f"{_hung_up(context)} when it had been sent {given} of {self}")
        size = counted(len(self.data or b""), "byte")
        taken = context.outbox.taken_of(self.index)
        return Mismatch(f"{_hung_up(context)} when it had taken {taken} of {size}")

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        if self.chunks is not None:
            given = counted(self.chunks.given, "byte")
            return Mismatch(f"the client does not read: it had been sent {given} of {self}, and took nothing for "
                            f"{seconds(duration)}" if silent else
                            f"{self} has not ended within {seconds(duration)}: the client had been sent {given}")
        if self.data is None:
            return Mismatch(f"the coroutine of {self.method}() gave nothing within {seconds(duration)}")
        return Mismatch(f"the client does not read: it took {context.outbox.taken_of(self.index)} of "
                        f"{counted(len(self.data), 'byte')}, and nothing for {seconds(duration)}" if silent else
                        f"the client read too slowly: it took {context.outbox.taken_of(self.index)} of "
                        f"{counted(len(self.data), 'byte')} within {seconds(duration)}")


def _hung_up(context: Context) -> str:
    return f"the client {'reset' if context.inbox.reset else 'closed'} the connection"


class _Flushing(Action):
    """An action that gives one command, and is done when the adapter reports that everything was handed over."""

    __slots__ = ("begun",)

    def __init__(self, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.begun = False

    def waits_for_output(self) -> bool:
        return not self.begun

    def order(self, context: Context) -> None:
        """Give the command to the adapter."""
        raise NotImplementedError

    def proceed(self, context: Context) -> Outcome:
        if not self.begun:
            gone = context.inbox.gone
            if context.outbox.interleaving and not gone:
                return WAITING
            self.begun = True
            if gone:
                return self.after_hang_up(context) if context.inbox.hung_up else DONE
            self.order(context)
        return WAITING

    def after_hang_up(self, context: Context) -> Outcome:
        """Return the outcome if the client has already hung up."""
        return Mismatch(f"{_hung_up(context)} before {self.method}()")

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"the client does not read: what was sent before {self.method}() was not taken within "
                        f"{seconds(duration)}")


class SendEof(_Flushing):
    """`send_eof()`: half-close. The client reads an end of stream, and may go on sending."""

    __slots__ = ()
    method = "send_eof"
    ends_output = True

    def order(self, context: Context) -> None:
        context.outbox.end()
        context.environment.commands.append(HalfClose(context.number, False))


class Disconnect(_Flushing):
    """`disconnect()`: deliver everything, end the stream with a FIN, then read on without judging.

    `close_notify` says whether our stream ends with a close_notify, if there is TLS (RFC 8446, 6.1).
    """

    __slots__ = ("close_notify",)
    method = "disconnect"
    followers = THE_CLIENTS_END

    def __init__(self, origin: Origin, timing: Timing, *, close_notify: bool = True) -> None:
        super().__init__(origin, timing)
        self.close_notify = close_notify

    def arguments(self) -> str:
        return "" if self.close_notify else "close_notify=False"

    @property
    def needs_tls(self) -> bool:  # type: ignore[override] # a trait that depends on the step
        return not self.close_notify

    def order(self, context: Context) -> None:
        context.drain()
        context.environment.commands.append(HalfClose(context.number, True, ragged=not self.close_notify))


class ResetStep(_Flushing):
    """`reset()`: deliver what was sent before, then send a RST."""

    __slots__ = ()
    method = "reset"
    followers = NOTHING
    without_reset = "disconnect()"

    def order(self, context: Context) -> None:
        context.drain()
        context.environment.commands.append(ResetConnection(context.number))

    def after_hang_up(self, context: Context) -> Outcome:
        context.drain()
        return DONE
