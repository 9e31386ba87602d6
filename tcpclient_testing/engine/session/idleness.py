"""The idle time-out: the script fails if a client stays connected, no step is due, and nothing happens for too long."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import address_text, seconds

from .leftovers import done_at, unexplained, unexplained_since

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Environment

    from .connections import Connections

__all__ = ["Idleness", "idle_until", "latest_on"]

__unittest = True


class Idleness:
    """A timer of the session: fails the script if the idle time-out has expired."""

    __slots__ = ("_environment", "_connections")

    def __init__(self, environment: Environment, connections: Connections) -> None:
        self._environment = environment
        self._connections = connections

    def remind(self) -> None:
        """Make sure that idleness is noticed, once a client has connected."""
        if self._environment.idle_timeout is not None:
            self._environment.remind(self._environment.now + self._environment.idle_timeout)

    def deadline(self) -> Optional[float]:
        """Return when to look again, in seconds of the clock; None is never."""
        environment, conversations = self._environment, self._connections.all
        idle = idle_until(environment, conversations)
        if idle is not None:
            return idle[0]
        if environment.idle_timeout is not None and any(conversation.inbox.open for conversation in conversations):
            return environment.now + environment.idle_timeout  # a step is due now; check again when it may be done
        return None

    def tick(self) -> None:
        """Fail the script if the idle time-out has expired."""
        environment = self._environment
        idle = idle_until(environment, self._connections.all)
        if idle is None or environment.now < idle[0]:
            return
        assert environment.idle_timeout is not None
        deadline, waiting = idle
        lasted = seconds(environment.now - deadline + environment.idle_timeout)
        inbox = waiting.inbox
        extra = None if environment.allow_extra else unexplained(
            waiting, self._connections.all, self._connections.expected)
        client = f"the client {address_text(inbox.peername)}"
        nothing = _nothing(waiting)
        if extra is not None:
            extra.add(f"; no step has explained it for {lasted}")
            waiting.fail(None, extra, overdue=True)
            return
        if inbox.draining:
            text = f"the script is complete; {client} is still connected {lasted} after the server disconnected"
        elif waiting.script.handed_over is not None:
            text = f"the handler has not returned, although {client} {waiting.ending()}" if inbox.ended else \
                f"the handler waits for the client; {client} is still connected and waits"
            text += f"; {nothing} for {lasted}"
        else:
            text = f"the script is complete; {client} is still connected and waits; {nothing} for {lasted}"
        waiting.fail(None, Mismatch(text), overdue=True)


def idle_until(environment: Environment,
               conversations: Sequence[Conversation]) -> Optional[tuple[float, Conversation]]:
    """Return when the idle time-out expires (seconds of the clock), and on which connection; None if it is not running.

    It runs while no step with a time-out of its own is due on any connection, and one of these is true:

    - A client is connected, and nothing happens.
    - A client has done something that no step explains. What it does afterwards does not restart this time.
    """
    if environment.idle_timeout is None:
        return None
    latest, waiting = environment.awake_since, None
    extra: Optional[tuple[float, Conversation]] = None
    for conversation in conversations:
        gate = conversation.script.gate
        if (gate is None and _waits_for_somebody(conversation)) or (gate is not None and gate.finds_connection):
            return None
        if not conversation.inbox.accepted:
            continue
        latest = max(latest, latest_on(conversation))
        if waiting is None and (conversation.inbox.open or _kept_open(conversation)):
            waiting = conversation
        since = unexplained_since(conversation)
        if since is not None and not environment.allow_extra:
            since = max(since, environment.awake_since)
            if extra is None or since < extra[0]:
                extra = since, conversation
    if extra is not None and (waiting is None or extra[0] <= latest):
        return extra[0] + environment.idle_timeout, extra[1]
    return None if waiting is None else (latest + environment.idle_timeout, waiting)


def _waits_for_somebody(conversation: Conversation) -> bool:
    """Whether a step with a time-out of its own is due, so that the idle time-out does not apply."""
    due = conversation.script.due
    return due is not None and not due.idle


def latest_on(conversation: Conversation) -> float:
    """When something last happened on this connection."""
    outbox = conversation.outbox
    return max(conversation.inbox.progress, outbox.taken_at, outbox.read_at, done_at(conversation))


def _kept_open(conversation: Conversation) -> bool:
    """Whether the client has ended its stream but its handler has not returned: the client may be waiting for it."""
    inbox, handed_over = conversation.inbox, conversation.script.handed_over
    done = not inbox.ended or inbox.reset or inbox.closed or inbox.draining
    return not done and handed_over is not None and handed_over.satisfied


def _nothing(conversation: Conversation) -> str:
    """Say that nothing happened except heartbeats: those of the server, and messages that `allow()` allows."""
    selection = conversation.selection
    allowed = conversation.allowed_meanwhile()
    but = f"nothing but {allowed}" if allowed else "nothing"
    return f"the client sent {but}" if selection is not None and selection.beats else f"{but} happened"
