"""The fault that breaks a stream after some bytes: `reset_after()`, `disconnect_after()` and `stall_after()`.

`BreakAfter` is armed when its turn comes, and strikes later, in the middle of what other steps send:

    armed --`n` bytes were sent--> struck (the stream is cut there) --delivered--> reset | disconnected | silent

After that, sends are satisfied without sending anything. If the server has ended the connection, an expectation on it
can't be met any more, so it is a mismatch (but for the client's own end after `disconnect_after()`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import HalfClose, ResetConnection
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import counted

from .base import DEFAULT_TIMING, DONE, WAITING, Outcome, Step
from .handlers import END, ExpectNext
from .sending import Action

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["BreakAfter"]

__unittest = True


class BreakAfter(Action):
    """`reset_after(n)`, `disconnect_after(n)`, `stall_after(n)`: the outgoing stream ends after `n` bytes."""

    __slots__ = ("method", "limit", "struck")

    def __init__(self, method: str, limit: int, origin: Origin) -> None:
        super().__init__(origin, DEFAULT_TIMING)
        self.method = method
        self.limit = limit
        self.struck = False

    def arguments(self) -> str:
        return str(self.limit)

    def proceed(self, conversation: Conversation) -> Outcome:
        if self.struck:
            return WAITING
        if conversation.fault is not None:
            return Mismatch(f"{self} can't be done: {conversation.fault} came before it, and a stream breaks only once")
        if conversation.output > self.limit:
            sent = counted(conversation.output, "byte")
            return Mismatch(f"{self} comes too late: it counts from the connection's first byte, and the server "
                            f"has sent {sent} already")
        conversation.fault = self
        return WAITING if self.strike(conversation) else DONE

    def cut(self, conversation: Conversation, chunks: list[bytes]) -> list[bytes]:
        """Return as much of `chunks` as may still be sent."""
        room, kept = self.limit - conversation.output, []
        for chunk in chunks:
            if room <= 0:
                break
            kept.append(chunk[:room])
            room -= len(kept[-1])
        return kept

    def strike(self, conversation: Conversation) -> bool:
        """End the stream if `limit` bytes have been sent. If True, a command was given: wait for its `Flushed`."""
        if self.struck or conversation.output < self.limit:
            return False
        if conversation.selection is not None and conversation.selection.interleaved.under_way:
            return False  # it strikes when that write has been handed over
        self.struck = True
        if self.method == "stall_after":
            return False
        conversation.drain()
        if not conversation.reset:
            conversation.command(ResetConnection(conversation) if self.method == "reset_after"
                                 else HalfClose(conversation, True))
            return True
        return False

    @property
    def ended(self) -> bool:
        """Whether this fault has ended the connection."""
        return self.struck and self.method != "stall_after"

    def overtake(self, conversation: Conversation) -> None:
        """The fault struck in a write that belongs to no step: make the due expectation begin again, if it can."""
        steps = conversation.steps
        if conversation.cursor < len(steps) and not steps[conversation.cursor].sends:
            conversation.begun = min(conversation.begun, conversation.cursor)

    def begin_other(self, conversation: Conversation, step: Step[Any]) -> Optional[Outcome]:
        """Begin a step whose turn comes after this fault. Return a mismatch if it can't be done any more.

        In a handler, `lines()` and `frames()` just end, as they do when the client closes. A handler can't know when
        that happens, so its other actions are still allowed: `delay()` and `hold_until()` take their time, and the rest
        do nothing.
        """
        if not self.ended or step is self or step.sends:
            return step.begin(conversation)
        if isinstance(step, ExpectNext):
            step.value = END
            return DONE
        if self.method == "disconnect_after" and step.method in ("expect_disconnect", "expect_reset"):
            return step.begin(conversation)
        hand_over_step = conversation.hand_over_step
        if hand_over_step is not None and step.index > hand_over_step.index and not step.is_expectation:
            return step.begin(conversation) if step.method in ("delay", "hold_until") else DONE
        ended = "reset the connection" if self.method == "reset_after" else "disconnected"
        return Mismatch(f"{step} can't be done: the server {ended} after {counted(self.limit, 'byte')}, as {self} says")

    def missed(self, conversation: Conversation) -> Mismatch:
        """Say that this fault never struck."""
        return Mismatch(f"{self} never took effect: the server sent only {counted(conversation.output, 'byte')}")
