"""Names connections that no step expects: the usual cause if another connection is silent or stays open.

A client that connects twice talks on the new connection and has forgotten the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .wording import address_text

if TYPE_CHECKING:
    from .session import Session

__all__ = ["uninvited"]

__unittest = True

_NAMED = 3


def uninvited(session: Session) -> str:
    """Return the end of a mismatch's text that names the connections no step expects; "" if there are none."""
    if session.allow_extra:
        return ""
    strangers = [conversation for conversation in session.conversations
                 if conversation.accepted and not conversation.steps and conversation.pool is None]
    if not strangers:
        return ""
    named = ", ".join(address_text(conversation.peername) for conversation in strangers[:_NAMED])
    more = ", ..." if len(strangers) > _NAMED else ""
    times = f"{len(strangers)} more times" if len(strangers) > 1 else \
        "a second time" if session.accepted == 2 else "once more"
    return f"; meanwhile the client connected {times} ({named}{more}), which no step expects"
