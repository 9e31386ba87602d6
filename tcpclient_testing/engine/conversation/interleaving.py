"""When interleaved sends are written: between the writes of the script, in the second lane of the outbox.

See `connection/interleaved.py` for what such messages are, and for what never happens to them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.commands import RunCoroutine, Send, SendInterleaved
from tcpclient_testing.engine.connection.interleaved import InterleavedSend, InterleavedSends, Rule
from tcpclient_testing.engine.mismatches import Mismatch

if TYPE_CHECKING:
    from tcpclient_testing.engine.steps.base import Step

    from .context import ConversationContext

__all__ = ["flushed", "output_ended", "progressed", "pump", "queue"]

__unittest = True


def queue(conversation: ConversationContext, lane: InterleavedSends, rule: Rule,
          argument: Any) -> Optional[InterleavedSend]:
    """Queue what `rule` sends; a callable of it is called with `argument`. If that fails, fail the script."""
    send = InterleavedSend(rule)
    outcome = send.compute(argument)
    if isinstance(outcome, Mismatch):
        conversation.fail(None, outcome)
        return None
    if outcome is not None:
        conversation.environment.commands.append(RunCoroutine(conversation.number, send, outcome))
    lane.waiting.append(send)
    return send


def pump(conversation: ConversationContext, lane: InterleavedSends) -> None:
    """Write what is ready, if no write is under way."""
    if lane.under_way or not lane.waiting:
        return
    outbox, commands = conversation.outbox, conversation.environment.commands
    if (outbox.sending and not lane.holds_script) or _upgrades(conversation):
        return
    if output_ended(conversation):
        if lane.clear():
            commands.append(Send(conversation.number))
        return
    ready = lane.take_ready()
    if ready:
        data = outbox.send_interleaved(b"".join(send.data or b"" for send in ready))
        lane.begin(ready, len(data))
        commands.append(SendInterleaved(conversation.number, data))
    elif lane.script_is_next():
        commands.append(Send(conversation.number))


def progressed(conversation: ConversationContext) -> None:
    """The operating system has taken more of such a write.

    If an action of the script waits for that write, the action's time-out starts anew: it is not late.
    """
    if _held(conversation):
        conversation.outbox.touch(conversation.environment.now)


def flushed(conversation: ConversationContext, lane: InterleavedSends) -> None:
    """The operating system has taken all of such a write."""
    progressed(conversation)
    lane.finish()
    if conversation.strike():
        lane.hold_back()  # `flushed` comes again when the connection has been ended
        due = conversation.script.due
        if due is not None and not due.sends:
            conversation.begin_again()
        return
    pump(conversation, lane)
    conversation.advance()


def output_ended(conversation: ConversationContext) -> bool:
    """Return whether interleaved sends are no longer sent on this connection."""
    inbox, outbox = conversation.inbox, conversation.outbox
    return outbox.ended or inbox.ended or inbox.draining or inbox.closed or outbox.cut_off


def _held(conversation: ConversationContext) -> bool:
    """Return whether an action of the script waits for the write under way: a send, an end of stream, or TLS."""
    due = conversation.script.due
    if conversation.outbox.sending or due is None:
        return conversation.outbox.sending
    return due.waits_for_output()


def _upgrades(conversation: ConversationContext) -> bool:
    """Return whether the client expects TLS next: the handshake is not done, or the go-ahead for it was sent."""
    steps, cursor = conversation.script.steps, conversation.script.cursor.position
    position = cursor
    while position < len(steps) and _may_precede_tls(steps[position]):
        position += 1
    if position == len(steps) or not steps[position].starts_tls:
        return conversation.handshake is not None and conversation.handshake.under_way
    before = cursor
    while before and _may_precede_tls(steps[before - 1]):
        before -= 1
    return position == cursor or steps[before - 1].sends


def _may_precede_tls(step: Step[Any]) -> bool:
    """Return whether the step may stand between a go-ahead and `start_tls()`, as `delay()` may."""
    return not (step.is_expectation or step.sends or step.starts_tls)
