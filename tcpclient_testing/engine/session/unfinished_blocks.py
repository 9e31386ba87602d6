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
    from tcpclient_testing.engine.steps.base import Step

    from .any_order import Pool
    from .session import Session

__all__ = ["UnfinishedBlock", "tick_unfinished", "wait_for_block"]

__unittest = True


class UnfinishedBlock(Mismatch):
    """A client waits for a block that has not ended. `hint` says what to do about it, or is None."""

    __slots__ = ("hint",)

    def __init__(self, lasted: float, *, connected: bool, left: bool) -> None:
        """Make the text.

        `lasted` is how long the wait took, in seconds; `connected`, whether the client's stream is open; `left`,
        whether an exception has ended the block.
        """
        what = "the client has waited" if connected else "nothing has happened"
        why = "since its `with` block was left by an exception" if left else "before its `with` block has ended"
        super().__init__(f"{what} for {seconds(lasted)}, but no step of any_order() counts {why}")
        self.hint = None if left else "write the script in the `with` block, and run the client after it"


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


def wait_for_block(session: Session) -> Optional[Wait]:
    """Return the wait with the earliest deadline; None if no client waits for a block."""
    waits = [wait for wait in _waits(session) if wait is not None]
    return min(waits, key=lambda wait: wait.deadline, default=None)


def _waits(session: Session) -> Iterator[Optional[Wait]]:
    for pool in [*session.pools, *([] if session.pool is None else [session.pool])]:
        if not pool.written:
            yield _wait_for_pool(session, pool)
    for conversation in session.conversations:
        block = None if conversation.selection is None else conversation.selection.unfinished_block(conversation)
        if block is not None and conversation.gate is None and _is_there(conversation):
            yield _wait(session, block.opened, [conversation], block.heads(), left=False)


def _wait_for_pool(session: Session, pool: Pool) -> Optional[Wait]:
    left = pool is not session.pool
    there = [conversation for conversation in session.conversations if _is_there(conversation) and
             (conversation.pool is pool or not (left or conversation.steps))]
    if not there:
        return None
    # While a step before the block is due, the time-out of that step applies.
    since = pool.turn if all(gate.satisfied for gate in pool.gates) else session.now
    heads = [conversation.steps[1] for conversation in pool.unbound if len(conversation.steps) > 1]
    return _wait(session, since, there, heads, left=left)


def _is_there(conversation: Conversation) -> bool:
    """Return whether the client may be waiting. One that has half-closed may be, too."""
    return conversation.accepted and not (conversation.closed or conversation.reset or conversation.draining)


def _wait(session: Session, since: float, there: list[Conversation], heads: list[Step[Any]], *,
          left: bool) -> Optional[Wait]:
    since = max(since, session.awake_since, *(max(each.progress, each.taken_at) for each in there))
    waiting = next((each for each in there if each.open), there[0])
    timeouts = [head.timing.limits(session)[0] for head in heads if head.reads] or [session.timeout]
    known = [timeout for timeout in timeouts if timeout is not None]
    limits = [] if session.idle_timeout is None else [session.idle_timeout]
    if waiting.open and len(known) == len(timeouts):
        limits.append(max(known))
    return Wait(since, since + min(limits), waiting, left) if limits else None


def tick_unfinished(session: Session) -> None:
    """Fail the session if a client has waited too long for a block."""
    wait = wait_for_block(session)
    if wait is None or session.now < wait.deadline:
        return
    waiting = wait.conversation
    due = waiting.gate is None and waiting.cursor < len(waiting.steps)
    session.fail(waiting, waiting.steps[waiting.cursor] if due else None,
                 UnfinishedBlock(session.now - wait.since, connected=waiting.open, left=wait.left), overdue=True)
