"""What a script may still expect of a client that has ended its stream (`expect_eof`): nothing that takes bytes.

A message of no bytes is complete all the same, and `lines()` and `frames()` of a handler just end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.errors import ScriptError

from .expectations import ExpectMessage
from .framing import Framing
from .handing import ExpectNext

if TYPE_CHECKING:
    from .conversation import Conversation
    from .steps import Step

__all__ = ["check_after_eof"]

__unittest = True


def check_after_eof(conversation: Conversation, step: Step[Any]) -> None:
    """Raise `ScriptError` for a step that waits for what can't come any more."""
    if step.method in _NEVER or (step.reads and not _may_be_empty(step)):
        raise ScriptError(f"{step} comes after {conversation.got_eof} on connection {conversation.number}, with which "
                          "the client has ended its stream: nothing can come any more")


def _may_be_empty(step: Step[Any]) -> bool:
    """Whether a message may have come although no byte has."""
    if isinstance(step, ExpectNext) or not isinstance(step, ExpectMessage):
        return isinstance(step, ExpectNext)
    if not isinstance(step.framing, Framing):
        return True  # a callable: its length may turn out to be 0
    from .allowing import takes_no_bytes
    return takes_no_bytes(step.framing, step.matcher)


# Silence is that of a client that could still say something. (start_tls() is not here: a TLS failure may be wanted.)
_NEVER = frozenset({"expect_eof", "expect_silence"})
