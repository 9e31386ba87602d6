"""Clients that wait while an `any_order()` block is still being written: nothing of it happens before it has ended.

Its steps are not due yet, so none of their time-outs runs; but a client that is run within the block, and waits for an
answer, would wait for ever. It may do so for as long as its steps could take, or for the idle time-out if that is less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from .mismatches import Mismatch
from .wording import seconds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conversation import Conversation
    from .pool import Pool
    from .session import Session
    from .steps import Step

__all__ = ["Unwritten", "tick_unwritten", "wait_for_block"]

__unittest = True


class Unwritten(Mismatch):
    """A client waits for what does not happen before a block has ended; `hint` is what to do about it, or None."""

    __slots__ = ("hint",)

    def __init__(self, lasted: float, *, connected: bool, left: bool) -> None:
        """`left` says that the block was left by an exception; `lasted` is in seconds."""
        what = "the client has waited" if connected else "nothing has happened"
        why = "since its `with` block was left by an exception" if left else "before its `with` block has ended"
        super().__init__(f"{what} for {seconds(lasted)}, but no step of any_order() counts {why}")
        self.hint = None if left else "write the script in the `with` block, and run the client after it"


class Wait:
    """That a client waits for a block: `since` when, and until when it may; `left` is as above."""

    __slots__ = ("since", "deadline", "conversation", "left")

    def __init__(self, since: float, deadline: float, conversation: Conversation, left: bool) -> None:
        self.since = since
        self.deadline = deadline
        self.conversation = conversation
        self.left = left


def wait_for_block(session: Session) -> Optional[Wait]:
    """The wait for a block that is not written which will first have lasted too long; None if no client waits so."""
    waits = [wait for wait in _waits(session) if wait is not None]
    return min(waits, key=lambda wait: wait.deadline, default=None)


def _waits(session: Session) -> Iterator[Optional[Wait]]:
    for pool in [*session.pools, *([] if session.pool is None else [session.pool])]:
        if not pool.written:
            yield _wait_for_pool(session, pool)
    for conversation in session.conversations:
        block = None if conversation.beside is None else conversation.beside.unwritten(conversation)
        if block is not None and conversation.gate is None and _is_there(conversation):
            yield _wait(session, block.opened, [conversation], block.heads(), left=False)


def _wait_for_pool(session: Session, pool: Pool) -> Optional[Wait]:
    left = pool is not session.pool
    there = [conversation for conversation in session.conversations if _is_there(conversation) and
             (conversation.pool is pool or not (left or conversation.steps))]
    if not there:
        return None
    # While a step before the block is due, that one's time-out is the measure.
    since = pool.turn if all(gate.satisfied for gate in pool.gates) else session.now
    heads = [conversation.steps[1] for conversation in pool.unbound if len(conversation.steps) > 1]
    return _wait(session, since, there, heads, left=left)


def _is_there(conversation: Conversation) -> bool:
    """Whether the client may be waiting; one that has half-closed may, too."""
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


def tick_unwritten(session: Session) -> None:
    """Let the session fail if a client has waited too long."""
    wait = wait_for_block(session)
    if wait is None or session.now < wait.deadline:
        return
    waiting = wait.conversation
    due = waiting.gate is None and waiting.cursor < len(waiting.steps)
    session.fail(waiting, waiting.steps[waiting.cursor] if due else None,
                 Unwritten(session.now - wait.since, connected=waiting.open, left=wait.left), overdue=True)
