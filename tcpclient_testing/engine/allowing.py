"""Messages that the client may send at any boundary (`allow`), and the server's own heartbeats (`every`).

Both apply from that point of the script to the end of the connection. Written on a server before its first
`expect_connect()`, they apply to all connections, from their beginning.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from .asides import Aside
from .framing import Framing
from .matchers import Matcher
from .message import Message
from .mismatches import Mismatch
from .origin import Origin
from .source_lines import SourceLine, source_lines

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["Allowed", "Beat", "Every", "Permit", "takes_no_bytes"]

__unittest = True


class _Written:
    """Base class: an entry of a script that is not a step, and applies in addition to the steps."""

    __slots__ = ("shown", "origin", "source", "encode", "count")

    method = ""

    def __init__(self, shown: str, origin: Origin, source: Any, encode: Optional[Callable[[bytes], bytes]]) -> None:
        self.shown = shown
        self.origin = origin
        self.source = source
        self.encode = encode
        self.count = 0

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""
        return source_lines(self.origin)

    def __str__(self) -> str:
        return f"{self.method}({self.shown})"

    def sent(self) -> None:
        """Take note that the operating system has taken one more of what this entry sends."""

    def aside(self, conversation: Conversation, argument: Any) -> Optional[Aside]:
        """Return something to send, made from the source. If that fails, fail the script and return None."""
        aside = Aside(f"{self.method}() at {self.lines()[0]}", self.encode, self.sent)
        mismatch = aside.begin(conversation, self.source, argument)
        if mismatch is not None:
            conversation.session.fail(conversation, None, mismatch)
            return None
        return aside


class Allowed(_Written):
    """The result of `allow()`. `count` is how often such a message has come, on all connections."""

    __slots__ = ("framing", "matcher", "times")

    method = "allow"

    def __init__(self, shown: str, origin: Origin, framing: Framing, matcher: Matcher[Any], reply: Any,
                 encode: Optional[Callable[[bytes], bytes]], times: Optional[int]) -> None:
        super().__init__(shown, origin, reply, encode)
        self.framing = framing
        self.matcher = matcher
        self.times = times

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

    def holds(self, conversation: Conversation) -> bool:
        """Return whether such a message may come now."""
        if not self._begun:
            steps, cursor = conversation.steps, conversation.cursor
            self._begun = cursor > 0 and not any(steps[position].is_expectation for position
                                                 in range(cursor, min(self.position, len(steps))))
        return self._begun and self.left != 0

    def message(self) -> Message:
        """Return a new reading of such a message."""
        return Message(self.allowed.framing, self.allowed.matcher)

    def came(self, conversation: Conversation, result: Any) -> Optional[Aside]:
        """Count a message that has come; return the reply to it, or None."""
        self.allowed.count += 1
        if self.left is not None:
            self.left -= 1
        return None if self.allowed.source is None else self.allowed.aside(conversation, result)

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""
        return self.allowed.lines()

    def __str__(self) -> str:
        return str(self.allowed)


class Every(_Written):
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


class Beat:
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
        self.last: Optional[Aside] = None

    def start(self, conversation: Conversation) -> None:
        """Schedule the first heartbeat, once the client has connected and `position` is reached."""
        if self.due is None and conversation.accepted and conversation.cursor >= self.position:
            self.due = conversation.session.now + self.every.seconds
            conversation.session.remind(self.due)

    def tick(self, conversation: Conversation) -> Optional[Aside]:
        """Return the heartbeat to send now, or None if none is due."""
        now = conversation.session.now
        if self.due is None or now < self.due or self.every.stopped:
            return None
        following = self.due + self.every.seconds
        self.due = following if following > now else now + self.every.seconds
        return self.every.aside(conversation, conversation.last_result())


def takes_no_bytes(framing: Framing, matcher: Matcher[Any]) -> bool:
    """Return whether a message can be complete with zero bytes. If so, it would come again and again without end."""
    _, outcome = Message(framing, matcher).feed(memoryview(b""))
    return outcome is not None and not isinstance(outcome, Mismatch)
