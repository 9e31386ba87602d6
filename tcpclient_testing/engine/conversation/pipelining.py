"""Which answers a client has to wait for: with ``pipelining=False`` all of them, and always the go-ahead for TLS.

The client must send nothing before such an answer. Whether it has sent more shows a moment later, so the adapter looks
once more before the first byte of the answer goes out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import Script, Step
from tcpclient_testing.engine.wording import brief, counted

if TYPE_CHECKING:
    from .context import ConversationContext

__all__ = ["client_must_wait", "judge_answering"]

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
            f"{brief(early)}", offset=0))


def client_must_wait(conversation: ConversationContext) -> bool:
    """Whether the client has to wait for what is about to be sent, before it may send more."""
    return _is_go_ahead(conversation) or (not conversation.environment.pipelining
                                          and _answer_under_way(conversation.script) is not None)


def _is_go_ahead(conversation: ConversationContext) -> bool:
    """Whether the send that is due is the go-ahead for TLS: the last one before `start_tls()`."""
    steps, position = conversation.script.steps, conversation.script.cursor.position
    between = False
    while position < len(steps) and not steps[position].is_expectation:
        step = steps[position]
        if step.starts_tls or (step.sends and between):
            return step.starts_tls
        between = between or not step.sends
        position += 1
    return False


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
