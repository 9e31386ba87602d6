"""The faults that break a stream after some bytes: `reset_after()`, `disconnect_after()` and `stall_after()`.

The step arms a `Limit` of the outbox when its turn comes. The limit strikes later, in the middle of what other steps
send:

    armed --`n` bytes were sent--> struck (the stream is cut there) --delivered--> reset | disconnected | silent

After that, sends are satisfied without sending anything. If the server has ended the connection, an expectation on it
can't be met any more, so it is a mismatch (but for the client's own end after `disconnect_after()`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Command, HalfClose, ResetConnection
from tcpclient_testing.engine.connection.streams import Limit
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted

from .base import DONE, WAITING, Outcome, Step
from .sending import Action
from .timing import DEFAULT_TIMING

if TYPE_CHECKING:
    from .base import Context

__all__ = ["BreakAfter", "begin_after_our_end"]

__unittest = True


class _ResetLimit(Limit):
    __slots__ = ()
    ends = True
    ending = "reset the connection"

    def command(self, number: int) -> Optional[Command]:
        return ResetConnection(number)


class _DisconnectLimit(Limit):
    __slots__ = ()
    ends = True
    answered = True
    ending = "disconnected"

    def command(self, number: int) -> Optional[Command]:
        return HalfClose(number, True)


class _StallLimit(Limit):
    __slots__ = ()


_LIMITS: dict[str, type[Limit]] = {
    "reset_after": _ResetLimit,
    "disconnect_after": _DisconnectLimit,
    "stall_after": _StallLimit,
}


class BreakAfter(Action):
    """`reset_after(n)`, `disconnect_after(n)`, `stall_after(n)`: the outgoing stream ends after `n` bytes."""

    __slots__ = ("method", "limit")

    def __init__(self, method: str, count: int, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.method = method
        self.limit = _LIMITS[method](self, count)

    @property
    def without_reset(self) -> Optional[str]:  # type: ignore[override]
        return "disconnect_after()" if isinstance(self.limit, _ResetLimit) else None

    def arguments(self) -> str:
        return str(self.limit.count)

    def proceed(self, context: Context) -> Outcome:
        if self.limit.struck:
            return WAITING
        outbox = context.outbox
        if outbox.limit is not None:
            return Mismatch(f"{self} can't be done: {outbox.limit.step} came before it, and a stream breaks only once")
        if outbox.total > self.limit.count:
            sent = counted(outbox.total, "byte")
            return Mismatch(f"{self} comes too late: it counts from the connection's first byte, and the server "
                            f"has sent {sent} already")
        outbox.arm(self.limit)
        return WAITING if context.strike() else DONE


def begin_after_our_end(context: Context, step: Step[Any], limit: Limit) -> Optional[Outcome]:
    """Begin a step whose turn comes when `limit` has ended the connection. Return a mismatch if it can't be done.

    In a handler, `lines()` and `frames()` just end, as they do when the client closes. A handler can't know when that
    happens, so its other actions are still allowed: `delay()` and `hold_until()` take their time, and the rest do
    nothing.
    """
    if step.sends or (step.answers_end and limit.answered):
        return step.begin(context)
    outcome = step.after_our_end(context)
    if outcome is not None:
        return outcome
    handed_over = context.script.handed_over
    if handed_over is not None and step.index > handed_over.index and not step.is_expectation:
        return step.begin(context) if step.takes_time else DONE
    return Mismatch(f"{step} can't be done: the server {limit.ending} after {counted(limit.count, 'byte')}, as "
                    f"{limit.step} says")
