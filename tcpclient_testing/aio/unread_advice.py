"""A hint for a client that only closed its connection, but thereby reset it, because it had left data unread.

The operating system answers with a reset to data that arrives for a closed socket. Closing a socket with unread data
sends a reset as well (RFC 1122, 4.2.2.13). The server can't see what the client has read, only what it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.wording import counted
from tcpclient_testing.transcript.entries import RECEIVED, SENT

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation import Conversation
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["left_unread"]

__unittest = True


def left_unread(conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """Return the hint if the client reset the connection and had been sent something; else None."""
    if not conversation.reset:
        return None
    total = latest = 0
    for entry in transcript:
        if entry.number != conversation.number:
            continue
        if entry.what == RECEIVED:
            latest = 0
        elif entry.what == SENT:
            total += entry.size
            latest += entry.size
    if not total:
        return None
    which = f"{counted(latest, 'byte')} that it was sent last" if latest else \
        f"{counted(total, 'byte')} that it was sent"
    return f"a client that closes with data unread resets the connection: has it read all of the {which}?"
