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

from .base import DONE, WAITING, Outcome, Step, TimedStep
from .sending import Action
from .timing import Timing

if TYPE_CHECKING:
    from tcpclient_testing.engine.host import Written

    from .base import Context

__all__ = [
    "Delay", "HoldUntil", "PauseReadingStep", "ResumeReadingStep", "overdue_while_paused", "paused_text",
]

__unittest = True


def paused_text(paused: Written) -> str:
    """Say that the server has stopped reading since `paused`, and at which line that step is."""
    return f"the server has stopped reading ({paused}, {paused.lines()[0]})"


def overdue_while_paused(paused: Written, step: Step[Any], duration: float, silent: bool) -> Mismatch:
    """Say that an expectation was not met, and that the server can't see whether the client did its part."""
    return Mismatch(f"{step} was not satisfied {lateness(duration, silent)}, but {paused_text(paused)} and sees "
                    "nothing of the client: resume_reading() has to come first")


class Delay(TimedStep, Action):
    """`delay(seconds)`: wait before the next step."""

    __slots__ = ()
    method = "delay"
    takes_time = True

    def proceed(self, context: Context) -> Outcome:
        return DONE if self.over else WAITING


class HoldUntil(Action):
    """`hold_until(event)`: wait for an event of asyncio or threading, or for a step of another connection."""

    __slots__ = ("event", "released")
    method = "hold_until"
    takes_time = True

    def __init__(self, event: Any, origin: Origin, timing: Timing) -> None:
        super().__init__(origin, timing)
        self.event = event
        self.released = False

    def arguments(self) -> str:
        return str(self.event) if isinstance(self.event, Step) else type(self.event).__name__

    def begin(self, context: Context) -> Optional[Mismatch]:
        event = self.event
        if event.satisfied if isinstance(event, Step) else event.is_set():
            # Set the flag directly: the conversation's `release` would call `advance`, which is running already.
            self.released = True
        elif isinstance(event, Step) and event.cursor.environment is context.environment:
            event.cursor.when_done(event, lambda: context.release(self))
        else:
            context.environment.commands.append(Await(context.number, self, event))
        return None

    def release(self) -> None:
        """What it waits for has happened."""
        self.released = True

    def proceed(self, context: Context) -> Outcome:
        return DONE if self.released else WAITING

    def overdue(self, context: Context, duration: float, silent: bool) -> Mismatch:
        return Mismatch(f"hold_until() was held for {seconds(duration)}: {self.arguments()} is not "
                        f"{'satisfied' if isinstance(self.event, Step) else 'set'}")


class PauseReadingStep(Action):
    """`pause_reading()`: stop reading from the client."""

    __slots__ = ()
    method = "pause_reading"
    sets_reading = False

    def proceed(self, context: Context) -> Outcome:
        context.inbox.pause(self)
        context.environment.commands.append(PauseReading(context.number))
        return DONE


class ResumeReadingStep(Action):
    """`resume_reading()`: read from the client again."""

    __slots__ = ()
    method = "resume_reading"
    sets_reading = True

    def proceed(self, context: Context) -> Outcome:
        context.inbox.resume()
        context.environment.commands.append(ResumeReading(context.number))
        return DONE
