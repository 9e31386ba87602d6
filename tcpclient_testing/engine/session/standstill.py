"""A standstill: the script is complete, and the client or the test is seen to wait for something that will never come.

    nothing seen --seen in a look--> seen --not seen, or something else--> nothing seen
                                      `----seen for the whole time-out---> failure

It is looked for when nothing is left that could still send:

- every step of every connection is satisfied, and no handler serves one;
- on the connection itself: no `every()`, no `allow()`, no fault that has silenced the server;
- the server has not ended its stream.

What is seen, the adapter says (`Host.standstill`):

- END: the client has half-closed, and waits for the end of the server's stream
- DATA: the test itself waits for data from the server
- UNSEEN: the client has ended its stream, and the system doesn't say whether it is still there. Then this is no
  failure; but after the idle time-out the server ends its stream, too, lest a client wait for that for ever.

A look is made after each quarter of the time-out, at first; later less often, the more time has passed. A wait that is
seen in the first look is taken to have begun when something last happened.

The time-out is the server's `timeout`, or its `idle_timeout` if that is shorter. Without a `timeout` nothing is looked
for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Optional

from tcpclient_testing.engine.commands import Close
from tcpclient_testing.engine.conversation.timeouts import LOOKS
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text, seconds

from .idleness import latest_on
from .leftovers import unexplained

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Environment

    from .connections import Connections

__all__ = ["DATA", "END", "UNSEEN", "Standstill", "standstill_limit"]

__unittest = True

#: What is waited for: see above.
END, DATA, UNSEEN = "end", "data", "unseen"

# There are `LOOKS` looks in a time-out, at first; later there is one whenever this part of the time has passed again.
_PART = 0.125

# After so many time-outs nothing is looked for any more: a virtual clock would jump from look to look for ever.
_LONGEST = 1000

_HINTS = {
    END: "write expect_disconnect() or disconnect() at the end of the script: then the server ends its stream, too",
    DATA: "a reply is missing from the script; or, if the server is to end the connection, write disconnect()",
}
_UNEXPLAINED = "write a step for what the client sent, and then "
_HINTS_ON_BYTES = {
    END: f"{_UNEXPLAINED}expect_disconnect() or disconnect()",
    DATA: f"{_UNEXPLAINED}the reply that the test waits for, or disconnect() if the server is to end the connection",
}

_DATA_AWAITED = "; the test waits for data from the server"


class _Wait(NamedTuple):
    """A wait that was seen: what the adapter said, and since when, in seconds of the clock.

    `after` is when something had last happened.
    """

    seen: tuple[str, object]
    since: float
    after: float


class Standstill:
    """A timer of the session: fails the script at a standstill."""

    __slots__ = ("_environment", "_connections", "_waits")

    def __init__(self, environment: Environment, connections: Connections) -> None:
        self._environment = environment
        self._connections = connections
        self._waits: dict[Conversation, _Wait] = {}

    def deadline(self) -> Optional[float]:
        """Return when to look next, in seconds of the clock; None is never.

        As long as steps are due, a look sees nothing. But when the last of them is satisfied, the next look is near.
        """
        limit, accepted = standstill_limit(self._environment), self._accepted()
        if limit is None or all(map(_is_over, accepted)):
            return None
        now, after = self._environment.now, self._after(accepted)
        ends = [wait.since + limit for wait in self._waits.values() if wait.since + limit > now]
        if now - after > _LONGEST * limit and not ends:
            return None
        between = max(limit / LOOKS, (now - after) * _PART)
        return min([now + between if now >= after + between else after + between, *ends])

    def tick(self) -> None:
        """Look; fail the script if a wait has lasted for the whole time-out."""
        environment, limit = self._environment, standstill_limit(self._environment)
        waits, self._waits = self._waits, {}
        if limit is None:
            return
        now, found = environment.now, self._find()
        after = self._after(found) if found else now
        if now < after + limit / LOOKS:
            return
        for conversation in found:
            before = waits.get(conversation)
            seen = environment.host.standstill(conversation.number)
            if seen is None or (seen[0] == DATA and limit == environment.idle_timeout):  # idleness fails then
                continue
            if before is None or before.after != after or before.seen != seen:
                early = now < after + 2 * limit / LOOKS
                before = _Wait(seen, after if early else now, after)
            self._waits[conversation] = before
            if seen[0] == UNSEEN:
                if environment.idle_timeout is not None and now >= before.since + environment.idle_timeout:
                    environment.commands.append(Close(conversation.number))
                continue
            if now >= before.since + limit:
                self._fail(conversation, seen[0], now - before.since)
                return

    def _accepted(self) -> list[Conversation]:
        return [conversation for conversation in self._connections.all if conversation.inbox.accepted]

    def _after(self, accepted: list[Conversation]) -> float:
        """Return when something last happened on these connections, in seconds of the clock."""
        return max(self._environment.awake_since, *map(latest_on, accepted))

    def _find(self) -> list[Conversation]:
        """Return the connections on which there may be a standstill."""
        if not all(map(_is_done, self._connections.all)):
            return []
        return [conversation for conversation in self._accepted() if _may_stand_still(conversation)]

    def _fail(self, conversation: Conversation, what: str, lasted: float) -> None:
        inbox = conversation.inbox
        client = f"the client {address_text(inbox.peername)}"
        mismatch = None if self._environment.allow_extra else unexplained(
            conversation, self._connections.all, self._connections.expected)
        hints = _HINTS if mismatch is None else _HINTS_ON_BYTES
        if mismatch is None:
            waits = f", but {client} has half-closed and waits for the server's end" if what == END else _DATA_AWAITED
            mismatch = Mismatch(f"the script is complete{waits}")
        else:
            mismatch.add("; it has half-closed and waits for the server's end" if what == END else _DATA_AWAITED)
        mismatch.add(f"; nothing happened for {seconds(lasted)}")
        mismatch.advise(hints[what])
        conversation.fail(None, mismatch, overdue=True)


def standstill_limit(environment: Environment) -> Optional[float]:
    """Return the time-out in seconds; None if nothing is looked for."""
    timeout, idle_timeout = environment.timeout, environment.idle_timeout
    return timeout if timeout is None or idle_timeout is None else min(timeout, idle_timeout) or None


def _is_over(conversation: Conversation) -> bool:
    """Whether nothing can stand still on this connection any more: it is closed, or the server has ended it."""
    inbox = conversation.inbox
    return inbox.closed or inbox.reset or inbox.draining


def _is_done(conversation: Conversation) -> bool:
    """Whether no step of this connection is due, none will be, and no handler serves it."""
    script = conversation.script
    if script.gate is not None:
        return False
    selection = conversation.selection
    if selection is not None and selection.writing is not None:
        return False
    return script.cursor.position == len(script.steps) and (script.handed_over is None or _is_over(conversation))


def _may_stand_still(conversation: Conversation) -> bool:
    """Whether the client, or the test, may wait on this connection for something that will never come."""
    inbox, outbox, selection = conversation.inbox, conversation.outbox, conversation.selection
    if _is_over(conversation) or outbox.ended or outbox.sending or outbox.interleaving:
        return False
    if inbox.ended and (not inbox.fin or conversation.handshake is not None):
        return False
    if outbox.limit is not None and outbox.limit.struck:
        return False
    return inbox.ended or selection is None or not selection.goes_on()  # beats are not sent after the client's end
