"""Detects a client that waits for the server while the test is still inside its ``with any_order():`` block.

No step of a block happens before the block has ended. Its steps are not due until then, so none of their time-outs
runs. But a client that is run within the block and waits for an answer would wait for ever. So it may wait only as long
as the steps of the block could take, or for the idle time-out if that is shorter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Environment
    from tcpclient_testing.engine.steps.base import Step

    from .any_order import Pool, Pools
    from .connections import Connections

__all__ = ["UnfinishedBlock", "UnfinishedBlocks"]

__unittest = True


class UnfinishedBlock(Mismatch):
    """A client waits for a block that has not ended."""

    __slots__ = ()

    def __init__(self, lasted: float, *, connected: bool, left: bool) -> None:
        """Make the text.

        `lasted` is how long the wait took, in seconds; `connected`, whether the client's stream is open; `left`,
        whether an exception has ended the block.
        """
        what = "the client has waited" if connected else "nothing has happened"
        why = "since its `with` block was left by an exception" if left else "before its `with` block has ended"
        super().__init__(f"{what} for {seconds(lasted)}, but no step of any_order() counts {why}",
                         hint=None if left else "write the script in the `with` block, and run the client after it")


class Wait:
    """A client's wait for a block: when it began, and when it will have lasted too long, in seconds of the clock.

    `conversation` is the one that waits; `left` says whether an exception has ended the block.
    """

    __slots__ = ("since", "deadline", "conversation", "left")

    def __init__(self, since: float, deadline: float, conversation: Conversation, left: bool) -> None:
        self.since = since
        self.deadline = deadline
        self.conversation = conversation
        self.left = left


class UnfinishedBlocks:
    """A timer of the session: fails the script if a client has waited too long for a block."""

    __slots__ = ("_environment", "_connections", "_pools")

    def __init__(self, environment: Environment, connections: Connections) -> None:
        self._environment = environment
        self._connections = connections
        self._pools: Optional[Pools] = None

    def watch(self, pools: Pools) -> None:
        """Watch these blocks of connections, too."""
        self._pools = pools

    def remind(self) -> None:
        """Make sure that a client which waits for a block is noticed."""
        deadline = self.deadline()
        if deadline is not None:
            self._environment.remind(deadline)

    def deadline(self) -> Optional[float]:
        """Return when a client will have waited too long, in seconds of the clock; None is never."""
        wait = self._first()
        return None if wait is None else wait.deadline

    def tick(self) -> None:
        """Fail the script if a client has waited too long for a block."""
        wait = self._first()
        if wait is None or self._environment.now < wait.deadline:
            return
        waiting = wait.conversation
        mismatch = UnfinishedBlock(self._environment.now - wait.since, connected=waiting.inbox.open, left=wait.left)
        waiting.fail(waiting.script.due if waiting.script.gate is None else None, mismatch, overdue=True)

    def _first(self) -> Optional[Wait]:
        """Return the wait with the earliest deadline; None if no client waits for a block."""
        waits = [wait for wait in self._waits() if wait is not None]
        return min(waits, key=lambda wait: wait.deadline, default=None)

    def _waits(self) -> Iterator[Optional[Wait]]:
        pools = self._pools
        if pools is not None:
            for pool in [*pools.all, *([] if pools.writing is None else [pools.writing])]:
                if not pool.written:
                    yield self._wait_for_pool(pool, left=pool is not pools.writing)
        for conversation in self._connections.all:
            script, selection = conversation.script, conversation.selection
            block = None if selection is None else selection.unfinished_block(script)
            if block is not None and script.gate is None and _is_there(conversation):
                yield self._wait(block.opened, [conversation], block.heads(), left=False)

    def _wait_for_pool(self, pool: Pool, *, left: bool) -> Optional[Wait]:
        there = [conversation for conversation in self._connections.all if _is_there(conversation) and
                 (conversation.script.gate is pool or not (left or conversation.script.steps))]
        if not there:
            return None
        # While a step before the block is due, the time-out of that step applies.
        since = pool.turn if all(gate.satisfied for gate in pool.gates) else self._environment.now
        scripts = [conversation.script.steps for conversation in pool.unbound]
        return self._wait(since, there, [steps[1] for steps in scripts if len(steps) > 1], left=left)

    def _wait(self, since: float, there: list[Conversation], heads: list[Step[Any]], *, left: bool) -> Optional[Wait]:
        environment = self._environment
        latest = (max(each.inbox.progress, each.outbox.taken_at) for each in there)
        since = max(since, environment.awake_since, *latest)
        waiting = next((each for each in there if each.inbox.open), there[0])
        timeouts = [head.timing.limits(environment)[0] for head in heads if head.reads] or [environment.timeout]
        known = [timeout for timeout in timeouts if timeout is not None]
        limits = [] if environment.idle_timeout is None else [environment.idle_timeout]
        if waiting.inbox.open and len(known) == len(timeouts):
            limits.append(max(known))
        return Wait(since, since + min(limits), waiting, left) if limits else None


def _is_there(conversation: Conversation) -> bool:
    """Return whether the client may be waiting. One that has half-closed may be, too."""
    inbox = conversation.inbox
    return inbox.accepted and not (inbox.closed or inbox.reset or inbox.draining)
