"""What can be said of a client while the server does not read: nothing, so that is what is said.

Between `pause_reading()` and `resume_reading()` neither bytes nor an end are seen. What had come before may satisfy an
expectation all the same: so to write one there is no misuse; but where it is not met, it is not the client that is
late. Silence alone would be satisfied by looking away, and a TLS handshake could never be done: these are refused where
they are written.
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


#: The steps that have no place where the server does not read, and what to do about each.
NEEDS_SIGHT = {
    "expect_silence": "sees nothing of the client, silent or not: write resume_reading() before it, or delay() if the "
                      "time is all that matters",
    "start_tls": "sees nothing of the client's TLS handshake: write resume_reading() before it",
}


def check_seen(conversation: Conversation, step: Step[Any]) -> None:
    """Raise `ScriptError` for a step, one that needs sight of the client, where the server does not read."""
    for before in reversed(conversation.steps):
        if before.method == "resume_reading":
            return
        if before.method == "pause_reading":
            raise ScriptError(f"{step} comes after {before} on connection {conversation.number}, from which on the "
                              f"server {NEEDS_SIGHT[step.method]}")


def unseen(conversation: Conversation) -> str:
    """Say that the server has stopped reading, and where."""
    paused = conversation.paused
    assert paused is not None
    return f"the server has stopped reading ({paused}, {paused.lines()[0]})"


def overdue_unseen(conversation: Conversation, step: Step[Any], duration: float, silent: bool) -> Mismatch:
    """Say that an expectation was not met; whether the client has done it can't be seen."""
    return Mismatch(f"{step} was not satisfied {lateness(duration, silent)}, but {unseen(conversation)} and sees "
                    "nothing of the client: resume_reading() has to come first")
