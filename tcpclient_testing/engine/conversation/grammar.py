"""The grammar of a script: which step may follow which on one connection.

A step that can never be satisfied is refused where it is written, not when its turn comes.

After `expect_eof()` the client has ended its stream. Two kinds of reading steps remain possible:

- a message that can have zero bytes: it is complete without any
- the `lines()` and `frames()` of a handler: their loops just end
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.steps.messages import ExpectMessage
from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.engine.steps.base import Step

    from .conversation import Conversation

__all__ = ["check_order", "check_reset", "check_after_eof", "REFUSED_WHILE_PAUSED", "check_reading", "check_begun"]

__unittest = True

_SENDING = frozenset({"send_bytes", "send_line", "send_frame"})

# The steps that may follow each of these. All other steps may be followed by any step.
_LAST_STEPS: dict[str, tuple[str, ...]] = {
    "disconnect": ("expect_disconnect", "expect_reset"),
    "reset": (),
    "expect_disconnect": (),
    "expect_reset": (),
    "expect_tls_failure": (),
}

# What to use instead of a step that resets connections, on a server that can only close them.
_WITHOUT_RESET = {"reset": "disconnect()", "reset_after": "disconnect_after()",
                  "fail_connections": "refuse_connections()"}

#: The steps that are refused while the server does not read: for each, the reason and what to do, as error text.
REFUSED_WHILE_PAUSED = {
    "expect_silence": "can't see whether the client is silent: write resume_reading() before it, or use delay() if "
                      "only the time matters",
    "start_tls": "can't see the client's TLS handshake: write resume_reading() before it",
}

# expect_silence() is here because only a client that can still send can be silent.
# start_tls() is not here: the script may expect the TLS handshake to fail.
_NEVER = frozenset({"expect_eof", "expect_silence"})


def check_begun(conversation: Optional[Conversation], what: object) -> None:
    """Raise `ScriptError` if `what` is written before the `expect_connect()` of its script; None is no script yet."""
    if conversation is None or not conversation.steps:
        connect = "the first expect_connect()" if conversation is None \
            else f"the expect_connect() of connection {conversation.number}"
        raise ScriptError(f"{what} comes before {connect}: every script begins with expect_connect()")


def check_reset(session: Session, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step` resets connections and the server can't: a Unix-domain socket has no reset."""
    if not session.can_reset and step.method in _WITHOUT_RESET:
        raise ScriptError(f"{step}: a Unix-domain socket has no reset, only a close; use "
                          f"{_WITHOUT_RESET[step.method]}")


def check_order(conversation: Conversation, step: Step[Any], *, by_handler: bool = False) -> None:
    """Raise `ScriptError` if `step` may not come next in this connection's script, which must have begun.

    `by_handler` says that a handler adds the step. After `hand_over()`, only the handler may add steps. Hand-overs and
    ends of streams are recorded in `conversation`, since they restrict the steps after them.
    """
    if conversation.hand_over_step is not None and not by_handler:
        raise ScriptError(f"{step} comes after {conversation.hand_over_step} on connection {conversation.number}, "
                          "after which only the handler adds steps; expect_connect() begins the next connection")
    if conversation.selection is not None and conversation.selection.writing is not None:
        conversation.selection.writing.check(step)
    if step.method == "hand_over":
        conversation.hand_over_step = step
    if step.method in ("expect_silence", "start_tls"):
        check_reading(conversation, step)
    last = conversation.steps[-1]
    _check_tls(conversation, step, last)
    check_reset(conversation.session, step)
    if step.method == "send_eof":
        conversation.sent_eof = step
    elif conversation.sent_eof is not None and step.method in _SENDING:
        raise ScriptError(f"{step} comes after {conversation.sent_eof} on connection {conversation.number}, with "
                          "which the server has ended its stream: nothing can be sent any more")
    allowed = _LAST_STEPS.get(last.method)
    if allowed is not None and step.method not in allowed:
        after = f"only {' or '.join(f'{name}()' for name in allowed)} may follow" if allowed else "none may follow"
        raise ScriptError(f"{step} comes after {last} on connection {conversation.number}, where {after}; "
                          "expect_connect() begins the next connection")
    if conversation.got_eof is not None:
        check_after_eof(conversation, step)
    elif step.method == "expect_eof":
        conversation.got_eof = step


def _check_tls(conversation: Conversation, step: Step[Any], last: Step[Any]) -> None:
    """Raise `ScriptError` for TLS within TLS, and for an expected TLS failure that follows no handshake."""
    tls_context = conversation.session.tls_context
    if step.method == "start_tls":
        before = next((each for each in conversation.steps if each.method == "start_tls"), None)
        if before is not None or tls_context is not None:
            raise ScriptError(f"{step} comes on connection {conversation.number}, which speaks TLS already: "
                              f"{before or 'the server has tls='}")
    elif step.method == "expect_tls_failure" and last.method != "start_tls" and not (
            last.method == "expect_connect" and tls_context is not None):
        raise ScriptError(f"{step} comes after {last} on connection {conversation.number}; it must come "
                          "directly after start_tls(), or after the expect_connect() of a server with tls=")


def check_after_eof(conversation: Conversation, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step` waits for something that can't come any more."""
    if step.method in _NEVER or (step.reads and not _may_be_empty(step)):
        raise ScriptError(f"{step} comes after {conversation.got_eof} on connection {conversation.number}, with which "
                          "the client has ended its stream: nothing can come any more")


def _may_be_empty(step: Step[Any]) -> bool:
    """Return whether the reading step can be satisfied without a byte."""
    from tcpclient_testing.engine.steps.handlers import ExpectNext
    if isinstance(step, ExpectNext):
        return True
    if not isinstance(step, ExpectMessage):
        return False
    if not isinstance(step.framing, Framing):
        return True  # the callable may return a length of 0
    from .allowing import takes_no_bytes
    return takes_no_bytes(step.framing, step.matcher)


def check_reading(conversation: Conversation, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step`, one of those in `REFUSED_WHILE_PAUSED`, comes while the server does not read."""
    for before in reversed(conversation.steps):
        if before.method == "resume_reading":
            return
        if before.method == "pause_reading":
            raise ScriptError(f"{step} comes after {before} on connection {conversation.number}, so the "
                              f"server {REFUSED_WHILE_PAUSED[step.method]}")
