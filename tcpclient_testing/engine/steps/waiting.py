"""Actions that wait, and those that stop the server's reading for a while.

Between `pause_reading()` and `resume_reading()`, the server sees neither bytes nor the end of the stream. For
expectations there:

- Most are permitted: bytes that came before the pause may satisfy them. If one is not met, the report does not say that
  the client is late.
- `expect_silence()` is refused where it is written: it would always be satisfied, because the server isn't reading.
- `start_tls()` is refused where it is written: the handshake could never be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import Await, PauseReading, ResumeReading
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.wording import lateness, seconds

from .base import DONE, WAITING, Outcome, Step, TimedStep, Timing
from .sending import Action

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = [
    "Delay", "HoldUntil", "PauseReadingStep", "ResumeReadingStep", "overdue_while_paused", "paused_text",
]

__unittest = True


def paused_text(conversation: Conversation) -> str:
    """Say that the server has stopped reading, and by which step at which line."""
    paused = conversation.paused
    assert paused is not None
    return f"the server has stopped reading ({paused}, {paused.lines()[0]})"


def overdue_while_paused(conversation: Conversation, step: Step[Any], duration: float, silent: bool) -> Mismatch:
    """Say that an expectation was not met, and that the server can't see whether the client did its part."""
    return Mismatch(f"{step} was not satisfied {lateness(duration, silent)}, but {paused_text(conversation)} and sees "
                    "nothing of the client: resume_reading() has to come first")


class Delay(TimedStep, Action):
    """`delay(seconds)`: wait before the next step."""

    __slots__ = ()
    method = "delay"

    def proceed(self, conversation: Conversation) -> Outcome:
        return DONE if self.over else WAITING


class HoldUntil(Action):
    """`hold_until(event)`: wait for an event of asyncio or threading, or for a step of another connection."""

    __slots__ = ("event", "released")
    method = "hold_until"

    def __init__(self, event: Any, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.event = event
        self.released = False

    def arguments(self) -> str:
        return str(self.event) if isinstance(self.event, Step) else type(self.event).__name__

    def begin(self, conversation: Conversation) -> Optional[Mismatch]:
        event = self.event
        if event.satisfied if isinstance(event, Step) else event.is_set():
            # Set the flag directly: the conversation's `released` would call `advance`, which is running already.
            self.released = True
        elif isinstance(event, Step) and event.conversation.session is conversation.session:
            event.conversation.when_done(event, lambda: conversation.released(self))
        else:
            conversation.command(Await(conversation, self, event))
        return None

    def proceed(self, conversation: Conversation) -> Outcome:
        return DONE if self.released else WAITING

    def overdue(self, conversation: Conversation, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"hold_until() was held for {seconds(duration)}: {self.arguments()} is not "
                        f"{'satisfied' if isinstance(self.event, Step) else 'set'}")


class PauseReadingStep(Action):
    """`pause_reading()`: stop reading from the client."""

    __slots__ = ()
    method = "pause_reading"

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.paused = conversation.paused or self
        conversation.command(PauseReading(conversation))
        return DONE


class ResumeReadingStep(Action):
    """`resume_reading()`: read from the client again."""

    __slots__ = ()
    method = "resume_reading"

    def proceed(self, conversation: Conversation) -> Outcome:
        conversation.paused = None
        conversation.command(ResumeReading(conversation))
        return DONE
