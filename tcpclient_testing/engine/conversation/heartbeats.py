"""The server's own heartbeats, as `every()` writes them, and the timer of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.connection.interleaved import InterleavedSend, InterleavedSends, Rule
from tcpclient_testing.engine.origin import Origin

from .interleaving import queue

if TYPE_CHECKING:
    from .context import ConversationContext

__all__ = ["HeartbeatTimer", "Every"]

__unittest = True


class Every(Rule):
    """The result of `every()`. `count` is how often it was sent, on all connections; `stop()` ends it.

    A heartbeat counts as sent once the operating system has taken its last byte.
    """

    __slots__ = ("seconds", "stopped")

    method = "every"

    def __init__(self, shown: str, origin: Origin, seconds: float, source: Any,
                 encode: Optional[Callable[[bytes], bytes]]) -> None:
        super().__init__(shown, origin, source, encode)
        self.seconds = seconds
        self.stopped = False

    def stop(self) -> None:
        """Send no more heartbeats. One that is being written is still delivered. Idempotent."""
        self.stopped = True

    def sent(self) -> None:
        self.count += 1

    def __repr__(self) -> str:
        state = ", stopped" if self.stopped else ""
        return f"<{self} at {self.lines()[0]}: sent {self.count} {'time' if self.count == 1 else 'times'}{state}>"


class HeartbeatTimer:
    """An `every()` on one connection: it applies from the step at `position`; `due` is the time of the next heartbeat.

    `due` is in seconds of the clock; None until the first heartbeat is scheduled. `last` is the heartbeat that was sent
    last. A heartbeat is skipped if the operating system has not taken the one before: otherwise the queue of a client
    that does not read would grow without limit.
    """

    __slots__ = ("every", "position", "due", "last")

    def __init__(self, every: Every, position: int) -> None:
        self.every = every
        self.position = position
        self.due: Optional[float] = None
        self.last: Optional[InterleavedSend] = None

    def start(self, conversation: ConversationContext) -> None:
        """Schedule the first heartbeat, once the client has connected and `position` is reached."""
        if self.due is None and conversation.inbox.accepted and conversation.script.cursor.position >= self.position:
            self.due = conversation.environment.now + self.every.seconds
            conversation.environment.remind(self.due)

    def tick(self, conversation: ConversationContext, lane: InterleavedSends, *, ended: bool) -> None:
        """Queue a heartbeat if one is due, unless nothing is sent any more (`ended`)."""
        now = conversation.environment.now
        if self.due is None or now < self.due:
            return
        if ended or (self.last is not None and (lane.under_way or self.last in lane.waiting)):
            self.due = now + self.every.seconds
        elif not self.every.stopped:
            following = self.due + self.every.seconds
            self.due = following if following > now else now + self.every.seconds
            self.last = queue(conversation, lane, self.every, conversation.last_result()) or self.last
