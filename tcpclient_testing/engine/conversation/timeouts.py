"""The time-outs of a conversation: when its due step is overdue, and what happens then.

`timeout` counts from the step's last progress, `within` from the moment at which its turn came. An alarm is a timer
that the step itself asked for.

What the client reads of what was sent is progress as well. The kernel doesn't report it: it has to be asked. So while
something may be unread, the adapter is reminded to look after each quarter of the time-out. A client that is seen to
have read everything is not looked at again until more is sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.timing import DEFAULT_TIMING

if TYPE_CHECKING:
    from tcpclient_testing.engine.mismatches import Mismatch

    from .context import ConversationContext
    from .selection import Selection

__all__ = ["LOOKS", "deadline_of", "excuse", "next_deadline", "next_look", "restart", "tick"]

__unittest = True

#: How many times in each time-out the adapter looks how much the client has read.
LOOKS = 4


def deadline_of(conversation: ConversationContext, selection: Optional[Selection]) -> Optional[float]:
    """Return when the due step is overdue or wants its timer, in seconds of the clock; None means never."""
    timer, script = conversation.timer, conversation.script
    step = timer.due
    cursor = script.cursor.position
    if step is None or cursor >= len(script.steps) or (step.index < cursor and not conversation.outbox.sending):
        return None
    if selection is not None and selection.unfinished_block(script) is not None:
        return None
    timeout, within = _limits(conversation, selection, step)
    deadlines = [] if timer.alarm_at is None else [timer.alarm_at]
    if timeout is not None:
        deadlines.append(_latest(conversation, step) + (step.timing.after or 0.0) + timeout)
    if within is not None:
        deadlines.append(timer.turn + within)
    return min(deadlines) if deadlines else None


def tick(conversation: ConversationContext, selection: Optional[Selection]) -> Optional[tuple[Step[Any], Mismatch]]:
    """Fire the due step's alarm, and send heartbeats, if the time for it has come.

    Return the due step and its mismatch if it is overdue.
    """
    if selection is not None:
        selection.tick(conversation)
    timer, now = conversation.timer, conversation.environment.now
    deadline = deadline_of(conversation, selection)
    if timer.due is None or deadline is None or now < deadline:
        return None
    if timer.alarm_at is not None and now >= timer.alarm_at:
        timer.alarm(None)
        timer.due.timer_fired(conversation)
        conversation.advance()
        return None
    step = conversation.script.steps[conversation.script.cursor.position]
    _, within = _limits(conversation, selection, step)
    silent = within is None or now < timer.turn + within
    since = _latest(conversation, step) if silent else timer.turn
    paused = conversation.inbox.paused
    if paused is not None and step.is_expectation:
        from tcpclient_testing.engine.steps.waiting import overdue_while_paused
        mismatch = overdue_while_paused(paused, step, now - since, silent)
    elif selection is None:
        mismatch = step.overdue(conversation, now - since, silent)
    else:
        mismatch = selection.overdue(conversation, step, now - since, silent)
    return step, mismatch


def _limits(conversation: ConversationContext, selection: Optional[Selection],
            step: Step[Any]) -> tuple[Optional[float], Optional[float]]:
    """Return the `timeout` and the `within` that apply to the due step, in seconds."""
    if selection is not None:
        return selection.limits(conversation, step)
    if step.timing is DEFAULT_TIMING:
        return conversation.environment.timeout, None
    return step.timing.limits(conversation.environment)


def _latest(conversation: ConversationContext, step: Step[Any]) -> float:
    """When the due step last made progress. For an action, what the client sends is no progress, only what it takes."""
    outbox = conversation.outbox
    progress = conversation.inbox.progress if step.is_expectation else outbox.taken_at
    return max(conversation.timer.turn, progress, outbox.read_at)


def next_look(conversation: ConversationContext, selection: Optional[Selection]) -> Optional[float]:
    """Return when to look how much the client has read, in seconds of the clock; None if that is not needed."""
    environment = conversation.environment
    if not (conversation.outbox.unread and environment.host.sees_reading):
        return None
    deadline, step = deadline_of(conversation, selection), conversation.timer.due
    timeout = None if deadline is None or step is None else _limits(conversation, selection, step)[0]
    if not timeout or step is None or deadline is None:
        return None
    since, between = _latest(conversation, step) + (step.timing.after or 0.0), timeout / LOOKS
    look = since + (max(0, int((environment.now - since) / between)) + 1) * between
    if look <= environment.now:  # rounded
        look += between
    return look if look < deadline else None


def next_deadline(conversation: ConversationContext, selection: Optional[Selection]) -> Optional[float]:
    """Return when `tick` next has something to do, in seconds of the clock; None means never."""
    deadlines = [deadline_of(conversation, selection), None if selection is None else selection.deadline()]
    return min((deadline for deadline in deadlines if deadline is not None), default=None)


def restart(conversation: ConversationContext) -> None:
    """Restart the time-outs: a debugger had stopped time until now."""
    now = conversation.environment.now
    conversation.timer.restart(now)
    conversation.inbox.touch(now)
    conversation.outbox.touch(now)


def excuse(conversation: ConversationContext) -> bool:
    """The event loop was blocked until now: restart the due step's time-outs; return whether any was restarted."""
    timer, now = conversation.timer, conversation.environment.now
    inbox, outbox = conversation.inbox, conversation.outbox
    first = timer.excuse(max(inbox.progress, outbox.taken_at, outbox.read_at), now)
    if first is None:
        return False
    if first:
        timer.restart(now)
    inbox.touch(now)
    outbox.touch(now)
    return True
