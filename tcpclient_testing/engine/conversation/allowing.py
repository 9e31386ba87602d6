"""Messages that the client may send at any boundary between steps (`allow`).

An `allow()` applies from its point of the script to the end of the connection. Written on a server before its first
`expect_connect()`, it applies to all connections, from their beginning. `Selection` recognizes the messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.connection.interleaved import InterleavedSend, Rule
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.source_lines import SourceLine

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["Allowed", "Permit", "takes_no_bytes"]

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

    def came(self, conversation: Conversation, result: Any) -> Optional[InterleavedSend]:
        """Count a message that has come; return the reply to it, or None."""
        self.allowed.count += 1
        if self.left is not None:
            self.left -= 1
        return None if self.allowed.source is None else self.allowed.make_send(conversation, result)

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""
        return self.allowed.lines()

    def __str__(self) -> str:
        return str(self.allowed)


def takes_no_bytes(framing: Framing, matcher: Matcher[Any]) -> bool:
    """Return whether a message can be complete with zero bytes. If so, it would come again and again without end."""
    _, outcome = Message(framing, matcher).feed(memoryview(b""))
    return outcome is not None and not isinstance(outcome, Mismatch)
