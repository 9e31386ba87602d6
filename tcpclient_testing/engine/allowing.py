"""What is written beside a script: messages that may come at any boundary, and the server's own heartbeats.

Both hold from where they are written to the connection's end; or, written on a server before its first
`expect_connect()`, on all of its connections, from their beginning.
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
    """Something that was written beside the steps of a script."""

    __slots__ = ("shown", "origin", "source", "encode", "count")

    method = ""

    def __init__(self, shown: str, origin: Origin, source: Any, encode: Optional[Callable[[bytes], bytes]]) -> None:
        self.shown = shown
        self.origin = origin
        self.source = source
        self.encode = encode
        self.count = 0

    def lines(self) -> list[SourceLine]:
        """Where it was written."""
        return source_lines(self.origin)

    def __str__(self) -> str:
        return f"{self.method}({self.shown})"

    def sent(self) -> None:
        """What it has to send was handed to the operating system, once more."""

    def aside(self, conversation: Conversation, argument: Any) -> Optional[Aside]:
        """Something to send, from the source; None if that is the script's failure."""
        aside = Aside(f"{self.method}() at {self.lines()[0]}", self.encode, self.sent)
        mismatch = aside.begin(conversation, self.source, argument)
        if mismatch is not None:
            conversation.session.fail(conversation, None, mismatch)
            return None
        return aside


class Allowed(_Written):
    """What `allow()` returns: `count` is how often such a message has come, on all connections."""

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
    """An `allow()` as it holds on one connection: from the step at `position` on, `left` times more (None: any).

    Actions make no difference: it holds from the boundary behind the last message that is expected before it.
    """

    __slots__ = ("allowed", "position", "left", "_begun")

    is_expectation = False

    def __init__(self, allowed: Allowed, position: int) -> None:
        self.allowed = allowed
        self.position = position
        self.left = allowed.times
        self._begun = False

    def holds(self, conversation: Conversation) -> bool:
        """Whether such a message may come now."""
        if not self._begun:
            steps, cursor = conversation.steps, conversation.cursor
            self._begun = cursor > 0 and not any(steps[position].is_expectation for position
                                                 in range(cursor, min(self.position, len(steps))))
        return self._begun and self.left != 0

    def message(self) -> Message:
        """Begin to read one."""
        return Message(self.allowed.framing, self.allowed.matcher)

    def came(self, conversation: Conversation, result: Any) -> Optional[Aside]:
        """One has come; return the reply, if there is one."""
        self.allowed.count += 1
        if self.left is not None:
            self.left -= 1
        return None if self.allowed.source is None else self.allowed.aside(conversation, result)

    def lines(self) -> list[SourceLine]:
        """Where it was written."""
        return self.allowed.lines()

    def __str__(self) -> str:
        return str(self.allowed)


class Every(_Written):
    """What `every()` returns: `count` is how often it was sent, on all connections; `stop()` ends it.

    Sent is what was handed to the operating system to its last byte.
    """

    __slots__ = ("seconds", "stopped")

    method = "every"

    def __init__(self, shown: str, origin: Origin, seconds: float, source: Any,
                 encode: Optional[Callable[[bytes], bytes]]) -> None:
        super().__init__(shown, origin, source, encode)
        self.seconds = seconds
        self.stopped = False

    def stop(self) -> None:
        """Send no more; what is under way is delivered. It can be called often."""
        self.stopped = True

    def sent(self) -> None:
        self.count += 1

    def __repr__(self) -> str:
        state = ", stopped" if self.stopped else ""
        return f"<{self} at {self.lines()[0]}: sent {self.count} {'time' if self.count == 1 else 'times'}{state}>"


class Beat:
    """An `every()` as it holds on one connection: from the step at `position` on; `due` is the time of the next one.

    A beat that is due while the one before it has not been taken yet is left out: a client that does not read gets no
    longer and longer queue.
    """

    __slots__ = ("every", "position", "due", "last")

    def __init__(self, every: Every, position: int) -> None:
        self.every = every
        self.position = position
        self.due: Optional[float] = None
        self.last: Optional[Aside] = None

    def start(self, conversation: Conversation) -> None:
        """Begin to count, once it is time to."""
        if self.due is None and conversation.accepted and conversation.cursor >= self.position:
            self.due = conversation.session.now + self.every.seconds
            conversation.session.remind(self.due)

    def tick(self, conversation: Conversation) -> Optional[Aside]:
        """Return what is to be sent now, if anything is."""
        now = conversation.session.now
        if self.due is None or now < self.due or self.every.stopped:
            return None
        following = self.due + self.every.seconds
        self.due = following if following > now else now + self.every.seconds
        return self.every.aside(conversation, conversation.last_result())


def takes_no_bytes(framing: Framing, matcher: Matcher[Any]) -> bool:
    """Whether a message of this kind can be complete without a byte: then it would come without end."""
    _, outcome = Message(framing, matcher).feed(memoryview(b""))
    return outcome is not None and not isinstance(outcome, Mismatch)
