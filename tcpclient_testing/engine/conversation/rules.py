"""The rules beside a script's steps: what the client may send (`allow`), and what the server sends by itself (`every`).

A rule applies from its point of the script to the end of the connection. Written on a server before its first
`expect_connect()`, it applies to all connections, from their beginning. `Selection` has the rules of one connection: a
`Permit` for each `allow()`, a `HeartbeatTimer` for each `every()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.connection.interleaved import InterleavedSend, InterleavedSends, Rule
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.source_lines import SourceLine

from .interleaving import queue

if TYPE_CHECKING:
    from tcpclient_testing.engine.steps.base import Script

    from .context import ConversationContext

__all__ = ["Allowed", "Every", "HeartbeatTimer", "Permit"]

__unittest = True


class Allowed(Rule):
    """The result of `allow()`. `count` is how often such a message has come, on all connections."""

    __slots__ = ("framing", "matcher", "times")

    method = "allow"

    def __init__(self, shown: str, origin: Origin, framing: Framing, matcher: Matcher[Any], reply: Any,
                 encode: Optional[Callable[[bytes], bytes]], times: Optional[int]) -> None:
        super().__init__(shown, origin, reply, encode)
        self.framing = framing
        self.matcher = matcher
        self.times = times

    def _came(self) -> None:
        """Count a message that has come."""
        self.count += 1

    def __repr__(self) -> str:
        return f"<{self} at {self.lines()[0]}: came {self.count} {'time' if self.count == 1 else 'times'}>"


class Permit:
    """An `allow()` on one connection: it applies from the step at `position`, for `left` more messages (None: any).

    Actions before it don't delay it: it applies from the end of the last message that is expected before it.
    """

    __slots__ = ("allowed", "position", "left", "_begun")

    is_expectation = False

    def __init__(self, allowed: Allowed, position: int) -> None:
        self.allowed = allowed
        self.position = position
        self.left = allowed.times
        self._begun = False

    def holds(self, script: Script) -> bool:
        """Return whether such a message may come now."""
        if not self._begun:
            steps, cursor = script.steps, script.cursor.position
            self._begun = cursor > 0 and not any(steps[position].is_expectation for position
                                                 in range(cursor, min(self.position, len(steps))))
        return self._begun and self.left != 0

    def message(self, _: object) -> Message:
        """Return a new reading of such a message."""
        return Message(self.allowed.framing, self.allowed.matcher)

    def came(self) -> None:
        """Count a message that has come."""
        self.allowed._came()
        if self.left is not None:
            self.left -= 1

    def exchange_left(self, other: Permit) -> None:
        """Exchange how many messages are left: they were counted on the other connection."""
        self.left, other.left = other.left, self.left

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""
        return self.allowed.lines()

    def __str__(self) -> str:
        return str(self.allowed)


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
