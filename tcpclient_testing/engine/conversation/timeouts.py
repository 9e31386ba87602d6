"""The time-outs of a conversation: when its due step is overdue, and what happens then.

`timeout` counts from the step's last progress, `within` from the moment at which its turn came. An alarm is a timer
that the step itself asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.steps.base import DEFAULT_TIMING, Step

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["deadline_of", "next_deadline", "tick"]

__unittest = True


def deadline_of(conversation: Conversation) -> Optional[float]:
    """Return when the due step is overdue or wants its timer, in seconds of the clock; None means never."""
    step = conversation.due
    cursor = conversation.cursor
    if step is None or cursor >= len(conversation.steps) or (step.index < cursor and not conversation.sending):
        return None
    if conversation.selection is None and step.timing is DEFAULT_TIMING and conversation.alarm_at is None:
        timeout = conversation.session.timeout
        return None if timeout is None else _latest(conversation, step) + timeout
    if conversation.selection is not None and conversation.selection.unfinished_block(conversation) is not None:
        return None
    timeout, within = _limits(conversation, step)
    deadlines = [] if conversation.alarm_at is None else [conversation.alarm_at]
    if timeout is not None:
        deadlines.append(_latest(conversation, step) + (step.timing.after or 0.0) + timeout)
    if within is not None:
        deadlines.append(conversation.turn + within)
    return min(deadlines) if deadlines else None


def tick(conversation: Conversation) -> None:
    """Fire the due step's alarm, or fail the session, if the time for it has come; send heartbeats that are due."""
    if conversation.selection is not None:
        conversation.selection.tick(conversation)
    step, now = conversation.due, conversation.session.now
    deadline = deadline_of(conversation)
    if step is None or deadline is None or now < deadline:
        return
    if conversation.alarm_at is not None and now >= conversation.alarm_at:
        conversation.alarm_at = None
        step.timer_fired(conversation)
        conversation.advance()
        return
    step = conversation.steps[conversation.cursor]
    _, within = _limits(conversation, step)
    silent = within is None or now < conversation.turn + within
    since = _latest(conversation, step) if silent else conversation.turn
    if conversation.paused is not None and step.is_expectation:
        from tcpclient_testing.engine.steps.waiting import overdue_while_paused
        mismatch = overdue_while_paused(conversation, step, now - since, silent)
    elif conversation.selection is None:
        mismatch = step.overdue(conversation, now - since, silent)
    else:
        mismatch = conversation.selection.overdue(conversation, step, now - since, silent)
    conversation.session.fail_overdue(conversation, step, mismatch)


def _limits(conversation: Conversation, step: Step[Any]) -> tuple[Optional[float], Optional[float]]:
    """Return the `timeout` and the `within` that apply to the due step, in seconds."""
    if conversation.selection is None:
        return step.timing.limits(conversation.session)
    return conversation.selection.limits(conversation, step)


def _latest(conversation: Conversation, step: Step[Any]) -> float:
    """When the due step last made progress. For an action, what the client sends is no progress, only what it takes."""
    progress = conversation.progress if step.is_expectation else conversation.taken_at
    return max(conversation.turn, progress)


def next_deadline(conversation: Conversation) -> Optional[float]:
    """Return when `tick` next has something to do, in seconds of the clock; None means never."""
    selection = conversation.selection
    deadlines = [deadline_of(conversation), None if selection is None else selection.deadline()]
    return min((deadline for deadline in deadlines if deadline is not None), default=None)
