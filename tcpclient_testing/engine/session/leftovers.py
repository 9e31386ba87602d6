"""The rules for what is left when every step is satisfied: unexplained connections and bytes, unused faults.

A connection that no step expects is also the usual cause if another one is silent or stays open: a client that connects
twice talks on the new connection and has forgotten the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text, brief, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Environment
    from tcpclient_testing.engine.steps.base import Step

__all__ = [
    "done_at", "judge_earlier", "judge_leftovers", "unexpected_connections", "unexpected_tls_failure",
    "unexplained", "unexplained_since",
]

__unittest = True

_NAMED = 3


def judge_leftovers(conversations: Sequence[Conversation], expected: int, *, allow_open: bool,
                    allow_extra: bool) -> None:
    """Fail the script for the first leftover that is not allowed; the first `expected` connections have a script.

    `allow_open` permits clients that are still connected, `allow_extra` bytes and connections that no step explains.
    """
    for conversation in conversations:
        script, inbox, outbox = conversation.script, conversation.inbox, conversation.outbox
        limit = outbox.limit
        if limit is not None and not limit.struck:
            armed_by: Any = limit.step
            conversation.fail(armed_by, limit.missed(outbox.total))
        broken = unexpected_tls_failure(conversation)
        if broken is not None:
            conversation.fail(*broken)
        unmet = None if script.input_ended is None else script.input_ended.unmet(conversation)
        if unmet is not None:
            conversation.fail(script.input_ended, unmet)
        extra = None if allow_extra else unexplained(conversation, conversations, expected)
        if extra is not None:
            conversation.fail(None, extra)
        if not (allow_open or inbox.ended or inbox.draining or inbox.closed):
            if inbox.paused is not None:
                from tcpclient_testing.engine.steps.waiting import paused_text
                conversation.fail(None, Mismatch("the script is complete, but the server is left and has not "
                                                 f"seen the client disconnect: {paused_text(inbox.paused)}"))
            peer = address_text(inbox.peername)
            conversation.fail(None, Mismatch(
                f"the script is complete, but the client {peer} is still connected when the server is left"
                f"{unexpected_connections(conversation.environment, conversations)}",
                hint="close the client before the server is left; allow_open=True permits clients that stay"))


def unexpected_tls_failure(conversation: Conversation) -> Optional[tuple[Optional[Step[Any]], Mismatch]]:
    """Return how TLS has failed on a connection whose script is complete, and the step that began it; or None.

    The step is None if the handshake was done. There is nothing to return if the script expects the failure.
    """
    handshake, last = conversation.handshake, conversation.script.final
    if handshake is None or handshake.failure is None or last is None or last.wants_tls_failure:
        return None
    return None if handshake.done else last, handshake.failure


def judge_earlier(conversations: Sequence[Conversation], expected: int, until: float) -> None:
    """Fail the script for what a client had done by `until`, and no step explains; the failure gets that time.

    Another server has waited in vain until then. The first `expected` connections have a script.
    """
    for conversation in conversations:
        script, environment = conversation.script, conversation.environment
        if environment.allow_extra or not script.complete or script.gate is not None or script.handed_over is not None:
            continue
        since, extra = unexplained_since(conversation), unexplained(conversation, conversations, expected)
        if conversation.inbox.accepted and since is not None and since <= until and extra is not None:
            environment.set_time(since)
            conversation.fail(None, extra)


class UnexpectedConnection(Mismatch):
    """A client has connected, and no `expect_connect()` is for it. `received` are the bytes that it has sent."""

    __slots__ = ()
    names_connection = True

    def __init__(self, conversation: Conversation, conversations: Sequence[Conversation], expected: int) -> None:
        came = conversation.inbox.unclaimed()
        wanted = {0: "no expect_connect()", 1: "one expect_connect()"}.get(expected, f"{expected} expect_connect()")
        where = ""
        if expected:
            last = conversations[expected - 1].script.steps[0].lines()[0]
            where = f" ({last})" if expected == 1 else f" (that of connection {expected} at {last})"
        sent = f"; the client sent {brief(came)}" if came else ""
        super().__init__(f"unexpected connection {conversation.number}: the script has {wanted}{where}{sent}",
                         received=came, offset=0,
                         hint="if the client is to connect again, write another expect_connect() with its steps; a "
                              "server with allow_extra=True ignores such connections")


def unexplained(conversation: Conversation, conversations: Sequence[Conversation],
                expected: int) -> Optional[Mismatch]:
    """Describe what no step explains on a connection whose script is complete; return None if there is nothing.

    Of all the server's `conversations`, the first `expected` have a script.
    """
    if not conversation.script.steps:
        return UnexpectedConnection(conversation, conversations, expected)
    came = conversation.inbox.unclaimed()
    if came:
        return Mismatch(f"the script is complete, but the client sent {counted(len(came), 'more byte')}: "
                        f"{brief(came)}{conversation.used_up()}", received=came, offset=0,
                        hint="write what the client may send: as a step, or with allow() if it may come at any time")
    return None


def unexplained_since(conversation: Conversation) -> Optional[float]:
    """Since when a connection whose script is complete has something that no step explains; None if it has nothing."""
    inbox = conversation.inbox
    if not conversation.script.steps:
        return inbox.accepted_at
    if inbox.pending:
        return max(done_at(conversation), inbox.unclaimed_at)
    return inbox.progress if inbox.draining and inbox.open else None


def done_at(conversation: Conversation) -> float:
    """When a step was last satisfied; 0 if none was."""
    marks = conversation.script.cursor.marks
    return marks[-1][1] if marks else 0.0


def unexpected_connections(environment: Environment, conversations: Sequence[Conversation]) -> str:
    """Return the end of a mismatch's text that names the connections no step expects; "" if there are none."""
    if environment.allow_extra:
        return ""
    unexpected = [conversation for conversation in conversations if conversation.inbox.accepted
                  and not conversation.script.steps and conversation.script.gate is None]
    if not unexpected:
        return ""
    named = ", ".join(address_text(conversation.inbox.peername) for conversation in unexpected[:_NAMED])
    more = ", ..." if len(unexpected) > _NAMED else ""
    times = f"{len(unexpected)} more times" if len(unexpected) > 1 else \
        "a second time" if environment.accepted == 2 else "once more"
    return f"; meanwhile the client connected {times} ({named}{more}), which no step expects"
