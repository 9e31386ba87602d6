"""The rules for what is left when every step is satisfied: unexplained connections and bytes, unused faults.

A connection that no step expects is also the usual cause if another one is silent or stays open: a client that connects
twice talks on the new connection and has forgotten the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text, counted, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Environment

__all__ = ["done_at", "judge_earlier", "judge_leftovers", "unexpected_connections", "unexplained", "unexplained_since"]

__unittest = True

_NAMED = 3


def judge_leftovers(conversations: Sequence[Conversation], expected: int, *, allow_open: bool,
                    allow_extra: bool) -> None:
    """Fail the script for the first leftover that is not allowed; `expected` connections have a script.

    `allow_open` permits clients that are still connected, `allow_extra` bytes and connections that no step explains.
    """
    for conversation in conversations:
        script, inbox, outbox = conversation.script, conversation.inbox, conversation.outbox
        limit, last = outbox.limit, script.final
        if limit is not None and not limit.struck:
            armed_by: Any = limit.step
            conversation.fail(armed_by, limit.missed(outbox.total))
        broken = None if conversation.handshake is None else conversation.handshake.failure
        if broken is not None and last is not None and not last.wants_tls_failure:
            conversation.fail(None, broken)
        unmet = None if script.input_ended is None else script.input_ended.unmet(conversation)
        if unmet is not None:
            conversation.fail(script.input_ended, unmet)
        extra = None if allow_extra else unexplained(conversation, expected)
        if extra is not None:
            conversation.fail(None, Mismatch(extra, received=inbox.unclaimed(), offset=0))
        if not (allow_open or inbox.ended or inbox.draining or inbox.closed):
            if inbox.paused is not None:
                from tcpclient_testing.engine.steps.waiting import paused_text
                conversation.fail(None, Mismatch("the script is complete, but the server is left and has not "
                                                 f"seen the client disconnect: {paused_text(inbox.paused)}"))
            peer = address_text(inbox.peername)
            conversation.fail(None, Mismatch(
                f"the script is complete, but the client {peer} is still connected when the server is left"
                f"{unexpected_connections(conversation.environment, conversations)}"))


def judge_earlier(conversations: Sequence[Conversation], expected: int, until: float) -> None:
    """Fail the script for what a client had done by `until`, and no step explains; the failure gets that time.

    Another server has waited in vain until then. `expected` connections have a script.
    """
    for conversation in conversations:
        script, environment = conversation.script, conversation.environment
        if environment.allow_extra or not script.complete or script.gate is not None or script.handed_over is not None:
            continue
        since, extra = unexplained_since(conversation), unexplained(conversation, expected)
        if conversation.inbox.accepted and since is not None and since <= until and extra is not None:
            environment.set_time(since)
            conversation.fail(None, Mismatch(extra, received=conversation.inbox.unclaimed(), offset=0))


def unexplained(conversation: Conversation, expected: int) -> Optional[str]:
    """Describe what no step explains on a connection whose script is complete; return None if there is nothing.

    `expected` is how many connections of the server have a script.
    """
    came = conversation.inbox.unclaimed()
    if not conversation.script.steps:
        sent = f", and sent {counted(len(came), 'byte')}: {shorten(came)}" if came else ""
        accepted = conversation.environment.accepted
        times = {1: "once", 2: "twice"}.get(accepted, f"{accepted} times")
        wanted = counted(expected, "connection") if expected else "no connection"
        return f"the client connected {times}, but the script expects {wanted}{sent}"
    if came:
        used = conversation.used_up()
        return f"the script is complete, but the client sent {counted(len(came), 'more byte')}: {shorten(came)}{used}"
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
