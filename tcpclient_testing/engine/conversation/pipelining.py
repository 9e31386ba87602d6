"""What a server with ``pipelining=False`` judges: a client's next request must not come before the last is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Script, Step
from tcpclient_testing.engine.wording import counted, shorten

if TYPE_CHECKING:
    from .context import ConversationContext

__all__ = ["judge_answering"]

__unittest = True


def judge_answering(conversation: ConversationContext) -> None:
    """Fail if a request has come before the previous one was answered."""
    environment = conversation.environment
    if environment.over or not conversation.excess:
        return
    answer = _answer_under_way(conversation.script)
    if answer is not None:
        early = conversation.inbox.unclaimed()
        conversation.fail(answer, Mismatch(
            f"the client sent {counted(len(early), 'byte')} before it was answered (pipelining=False): "
            f"{shorten(early)}", offset=0))


def _answer_under_way(script: Script) -> Optional[Step[Any]]:
    """Return the send that answers the client's last message, if it is not handed over yet; else None.

    The answer is the first send written after that message: the client may take it for its answer, and go on. Until the
    operating system has its last byte, no client that waits for the answer can have sent more.
    """
    steps, position = script.steps, script.cursor.position
    while position and not steps[position - 1].is_expectation:
        position -= 1
        if steps[position].sends:
            return None
    if not position or not steps[position - 1].reads:
        return None
    position = script.cursor.position
    while position < len(steps) and not steps[position].is_expectation:
        if steps[position].sends:
            return steps[position]
        position += 1
    return None
