"""Messages that `allow(times=...)` let through, and lets through no more: mostly the cause where one comes again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .candidates import Candidates, Reading

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["used_up"]

__unittest = True


def used_up(conversation: Conversation) -> str:
    """Say which `allow()` would have taken the bytes that are there, as it follows a mismatch; nothing if none would.

    Bytes that are only the beginning of such a message count: a wrong one is reported when it arrives.
    """
    spent = [] if conversation.beside is None else [permit for permit in conversation.beside.permits if not permit.left
                                                    and permit.left is not None]
    if not spent or not conversation.pending:
        return ""
    candidates = Candidates([Reading(permit, permit.message()) for permit in spent])
    candidates.run(conversation.pending)
    possible = candidates.alive()
    return f"; {possible[0].source} at {possible[0].source.lines()[0]} is used up" if possible else ""
