"""The idle time-out: the script fails if a client stays connected, no step is due, and nothing happens for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text, seconds

from .leftovers import unexplained

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

    from .session import Session

__all__ = ["idle_until", "tick_idle"]

__unittest = True


def idle_until(session: Session) -> Optional[tuple[float, Conversation]]:
    """Return when the idle time-out expires (seconds of the clock), and on which connection; None if it is not running.

    It runs while no step with a time-out of its own is due on any connection, and one of these is true:

    - A client is connected, and nothing happens.
    - A client has done something that no step explains. What it does afterwards does not restart this time.
    """
    if session.idle_timeout is None:
        return None
    latest, waiting = session.awake_since, None
    extra: Optional[tuple[float, Conversation]] = None
    for conversation in session.conversations:
        if conversation.pool is not None or (_waits_for_somebody(conversation) and conversation.gate is None):
            return None
        if not conversation.accepted:
            continue
        latest = max(latest, _latest(conversation))
        if waiting is None and (conversation.open or _kept_open(conversation)):
            waiting = conversation
        since = _unexplained_since(conversation)
        if since is not None and not session.allow_extra:
            since = max(since, session.awake_since)
            if extra is None or since < extra[0]:
                extra = since, conversation
    if extra is not None and (waiting is None or extra[0] <= latest):
        return extra[0] + session.idle_timeout, extra[1]
    return None if waiting is None else (latest + session.idle_timeout, waiting)


def _waits_for_somebody(conversation: Conversation) -> bool:
    """Whether a step with a time-out of its own is due, so that the idle time-out does not apply."""
    steps, cursor = conversation.steps, conversation.cursor
    return cursor < len(steps) and not steps[cursor].idle


def _latest(conversation: Conversation) -> float:
    """When something last happened on this connection."""
    return max(conversation.progress, conversation.taken_at, _done_at(conversation))


def _kept_open(conversation: Conversation) -> bool:
    """Whether the client has ended its stream but its handler has not returned: the client may be waiting for it."""
    done = not conversation.ended or conversation.reset or conversation.closed or conversation.draining
    return not done and conversation.hand_over_step is not None and conversation.hand_over_step.satisfied


def _unexplained_since(conversation: Conversation) -> Optional[float]:
    """Since when a connection whose script is complete has something that no step explains; None if it has nothing."""
    if not conversation.steps:
        return conversation.accepted_at
    if conversation.pending:
        return max(_done_at(conversation), conversation.unclaimed_at)
    return conversation.progress if conversation.draining and conversation.open else None


def _done_at(conversation: Conversation) -> float:
    """When a step was last satisfied; 0 if none was."""
    return conversation.marks[-1][1] if conversation.marks else 0.0


def tick_idle(session: Session) -> None:
    """Fail the session if the idle time-out has expired."""
    idle = idle_until(session)
    if idle is None or session.now < idle[0]:
        return
    assert session.idle_timeout is not None
    deadline, waiting = idle
    lasted = seconds(session.now - deadline + session.idle_timeout)
    extra = None if session.allow_extra else unexplained(waiting)
    client = f"the client {address_text(waiting.peername)}"
    nothing = _nothing(waiting)
    if extra is not None:
        text = f"{extra}; no step has explained it for {lasted}"
    elif waiting.draining:
        text = f"the script is complete; {client} is still connected {lasted} after the server disconnected"
    elif waiting.hand_over_step is not None:
        text = f"the handler has not returned, although {client} {waiting.ending()}" if waiting.ended else \
            f"the handler waits for the client; {client} is still connected and waits"
        text += f"; {nothing} for {lasted}"
    else:
        text = f"the script is complete; {client} is still connected and waits; {nothing} for {lasted}"
    session.fail(waiting, None, Mismatch(text), overdue=True)


def _nothing(conversation: Conversation) -> str:
    """Say that nothing happened except heartbeats: those of the server, and messages that `allow()` allows."""
    selection = conversation.selection
    allowed = "" if selection is None else selection.allowed_meanwhile(conversation)
    but = f"nothing but {allowed}" if allowed else "nothing"
    return f"the client sent {but}" if selection is not None and selection.beats else f"{but} happened"
