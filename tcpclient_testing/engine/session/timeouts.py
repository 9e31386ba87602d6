"""The timer of the session for the time-outs of steps, on each connection that has begun."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.conversation.timeouts import next_deadline, tick

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

    from .connections import Connections

__all__ = ["StepTimeouts"]

__unittest = True


class StepTimeouts:
    """Fails the script if a due step is overdue; fires the steps' alarms, and the heartbeats."""

    __slots__ = ("_environment", "_connections")

    def __init__(self, environment: Environment, connections: Connections) -> None:
        self._environment = environment
        self._connections = connections

    def deadline(self) -> Optional[float]:
        """Return when the first of them is due, in seconds of the clock; None is never."""
        deadlines = [next_deadline(conversation, conversation.selection) for conversation in self._connections.all
                     if conversation.script.gate is None]
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def tick(self) -> None:
        """Do what is due. The text of a time-out names the connections that no step expects."""
        for conversation in self._connections.all:
            if self._environment.over:
                return
            overdue = tick(conversation, conversation.selection) if conversation.script.gate is None else None
            if overdue is not None:
                step, mismatch = overdue
                if step.is_expectation and conversation.inbox.accepted:
                    from .leftovers import unexpected_connections
                    mismatch.add(unexpected_connections(self._environment, self._connections))
                conversation.fail(step, mismatch, overdue=True)
