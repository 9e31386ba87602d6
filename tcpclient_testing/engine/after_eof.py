"""Refuses steps after `expect_eof()` that can never be satisfied, because the client has ended its stream.

Two kinds of reading steps remain possible:

- a message that can have zero bytes: it is complete without any
- the `lines()` and `frames()` of a handler: their loops just end
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
    """Raise `ScriptError` if `step` waits for something that can't come any more."""
    if step.method in _NEVER or (step.reads and not _may_be_empty(step)):
        raise ScriptError(f"{step} comes after {conversation.got_eof} on connection {conversation.number}, with which "
                          "the client has ended its stream: nothing can come any more")


def _may_be_empty(step: Step[Any]) -> bool:
    """Return whether the reading step can be satisfied without a byte."""
    if isinstance(step, ExpectNext) or not isinstance(step, ExpectMessage):
        return isinstance(step, ExpectNext)
    if not isinstance(step.framing, Framing):
        return True  # the callable may return a length of 0
    from .allowing import takes_no_bytes
    return takes_no_bytes(step.framing, step.matcher)


# expect_silence() is here because only a client that can still send can be silent.
# start_tls() is not here: the script may expect the TLS handshake to fail.
_NEVER = frozenset({"expect_eof", "expect_silence"})
