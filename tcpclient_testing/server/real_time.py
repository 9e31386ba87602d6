"""Bounds the real time that a failing test takes on virtual time, whatever timers tick.

The server's default time-outs are a day of virtual time, so that the client's timers come first. If only a slow timer
ticks, that day is over at once. But a client that polls a hundred times a second would take minutes of real time. So:

    watching --five real seconds in which nothing but timers has happened on any connection--> judged
       ^                                                                                          |
       `------------------ no step without a time-out of its own is due --------------------------'

Then the steps that have only the default time-out are overdue, and so is a client that stays connected although the
script is complete.

- Bytes that `allow()` lets through, the server's own heartbeats, and what clients take of them, are the work of timers.
- Off Linux each jump of the clock takes a grace of 10 ms: of that, a tenth counts.
- Real time doesn't count while a debugger is at work, or while the loop does not turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.aio.process.debugger import debugger_active

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext
    from tcpclient_testing.engine.conversation.conversation import Conversation

__all__ = ["RealTimeBound"]

__unittest = True

BOUND = 5.0  # seconds of real time; the environment's scale of time-outs multiplies it
_LOOK = 0.25  # seconds of real time between two looks
_FREE = 0.9  # the part of a grace that doesn't count
_LONGEST = 2 * _LOOK  # a longer pause between two looks means that the loop did not turn


class RealTimeBound:
    """Watches one server, which runs in a loop on virtual time.

    - `steps`: steps without a time-out of their own are bounded, since the test has not chosen the server's `timeout`.
    - `idle`: the same for a complete script, since the test has not chosen `idle_timeout`.
    """

    def __init__(self, context: ServerContext, *, steps: bool, idle: bool) -> None:
        self._context = context
        self._steps = steps
        self._idle = idle
        self._seen: Any = None
        self._virtual = 0.0  # the loop's time when something else than a timer was last seen
        self._virtual_at_look = 0.0
        self._entries = 0
        self._lasted = 0.0  # real seconds in which nothing but timers has happened
        self._looked_at = self._graced_at_look = 0.0
        self._struck = False

    def start(self) -> None:
        """Begin to watch, once the server has a loop."""
        self._context.tell_of_time(self._about_time)
        self._virtual = self._virtual_at_look = self._loop.time()
        self._looked_at = self._loop.real_time()
        self._loop.call_in_real_time(_LOOK, self._look)

    @property
    def _loop(self) -> Any:
        return self._context.loop

    def _look(self) -> None:
        context, real, virtual = self._context, self._loop.real_time(), self._loop.time()
        if context.closed or context.environment.over:
            return
        elapsed, self._looked_at = min(real - self._looked_at, _LONGEST), real
        graced = self._loop.real_time_in_graces()
        elapsed = max(elapsed - _FREE * (graced - self._graced_at_look), 0.0)
        self._graced_at_look = graced
        if self._happened(virtual) or debugger_active():
            self._lasted, self._virtual = 0.0, virtual
        else:
            self._lasted += elapsed
        self._virtual_at_look = virtual
        if self._lasted >= BOUND * context.environment.scale:
            self._strike(virtual)
        self._loop.call_in_real_time(_LOOK, self._look)

    def _happened(self, virtual: float) -> bool:
        """Return whether anything but timers has happened since the last look."""
        environment, transcript = self._context.environment, self._context.transcript
        seen = (environment.accepted, environment.turned_away,
                [_state_of(conversation) for conversation in self._context.session.connections.all])
        entries = len(transcript) + transcript.dropped
        # While virtual time stands still, no timer ticks: then whatever is in the transcript comes from clients.
        happened = seen != self._seen or (virtual == self._virtual_at_look and entries != self._entries)
        self._seen, self._entries = seen, entries
        return happened

    def _strike(self, virtual: float) -> None:
        """Let default time-outs be over, and judge."""
        environment = self._context.environment
        timeout, idle_timeout = environment.timeout, environment.idle_timeout
        environment.configure(timeout=0.0 if self._steps else timeout, idle_timeout=0.0 if self._idle else idle_timeout)
        self._struck = True
        try:
            self._context.session.tick(virtual)
        finally:
            environment.configure(timeout=timeout, idle_timeout=idle_timeout)
        if not environment.over:  # what is due has a time-out of its own
            self._struck = False
            self._lasted = 0.0
            self._context.session.tick(virtual)
        self._context.perform()

    def _about_time(self) -> list[str]:
        if not self._struck:
            return []
        return ["  virtual time", (f"    {self._context.environment.now - self._virtual:.1f} s of it went by in "
                f"{self._lasted:.1f} s of real time, in which nothing but timers has happened on any connection"),
                "    timeout= (idle_timeout= if the script is complete), in virtual seconds, lifts this bound"]


def _state_of(conversation: Conversation) -> tuple[Any, ...]:
    """Return what changes when a client does something, or when a step is done."""
    inbox, outbox = conversation.inbox, conversation.outbox
    return (inbox.progress, inbox.ended, inbox.closed, conversation.script.cursor.position,
            outbox.taken if outbox.sending and not outbox.interleaving else None)
