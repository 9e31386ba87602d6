"""Messages that the client may send at any boundary between steps (`allow`).

An `allow()` applies from its point of the script to the end of the connection. Written on a server before its first
`expect_connect()`, it applies to all connections, from their beginning. `Selection` recognizes the messages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.connection.interleaved import Rule
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.matching.base import Matcher
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.origin import Origin
from tcpclient_testing.engine.source_lines import SourceLine

if TYPE_CHECKING:
    from tcpclient_testing.engine.steps.base import Script

__all__ = ["Allowed", "Permit"]

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
