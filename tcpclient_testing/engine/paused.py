"""Steps and reports while the server does not read: it can't know then what the client does.

Between `pause_reading()` and `resume_reading()`, the server sees neither bytes nor the end of the stream. For
expectations there:

- Most are permitted: bytes that came before the pause may satisfy them. If one is not met, the report does not say that
  the client is late.
- `expect_silence()` is refused where it is written: it would always be satisfied, because the server isn't reading.
- `start_tls()` is refused where it is written: the handshake could never be done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.errors import ScriptError

from .expectations import lateness
from .mismatches import Mismatch

if TYPE_CHECKING:
    from .conversation import Conversation
    from .steps import Step

__all__ = ["NEEDS_SIGHT", "check_seen", "overdue_unseen", "unseen"]

__unittest = True


#: The steps that are refused while the server does not read: for each, the reason and what to do, as error text.
NEEDS_SIGHT = {
    "expect_silence": "can't see whether the client is silent: write resume_reading() before it, or use delay() if "
                      "only the time matters",
    "start_tls": "can't see the client's TLS handshake: write resume_reading() before it",
}


def check_seen(conversation: Conversation, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step`, one of those in `NEEDS_SIGHT`, comes while the server does not read."""
    for before in reversed(conversation.steps):
        if before.method == "resume_reading":
            return
        if before.method == "pause_reading":
            raise ScriptError(f"{step} comes after {before} on connection {conversation.number}, so the "
                              f"server {NEEDS_SIGHT[step.method]}")


def unseen(conversation: Conversation) -> str:
    """Say that the server has stopped reading, and by which step at which line."""
    paused = conversation.paused
    assert paused is not None
    return f"the server has stopped reading ({paused}, {paused.lines()[0]})"


def overdue_unseen(conversation: Conversation, step: Step[Any], duration: float, silent: bool) -> Mismatch:
    """Say that an expectation was not met, and that the server can't see whether the client did its part."""
    return Mismatch(f"{step} was not satisfied {lateness(duration, silent)}, but {unseen(conversation)} and sees "
                    "nothing of the client: resume_reading() has to come first")
