"""Names the `allow(times=...)` that is used up, if it is the likely cause of a mismatch.

If a message comes more often than `times`, the mismatch alone does not show why it is no longer allowed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .candidates import Candidates, Reading

if TYPE_CHECKING:
    from .conversation import Conversation

__all__ = ["used_up"]

__unittest = True


def used_up(conversation: Conversation) -> str:
    """Return the end of a mismatch's text: which used-up `allow()` would have matched the pending bytes.

    Returns "" if none would. The beginning of such a message is enough, because a wrong byte is reported as soon as it
    arrives.
    """
    spent = [] if conversation.beside is None else [permit for permit in conversation.beside.permits if not permit.left
                                                    and permit.left is not None]
    if not spent or not conversation.pending:
        return ""
    candidates = Candidates([Reading(permit, permit.message()) for permit in spent])
    candidates.run(conversation.pending)
    possible = candidates.alive()
    return f"; {possible[0].source} at {possible[0].source.lines()[0]} is used up" if possible else ""
