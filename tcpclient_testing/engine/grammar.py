"""The grammar of a script: which step may follow which on one connection.

A step that can never be satisfied is refused where it is written, not when its turn comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from .conversation import Conversation
    from .session import Session
    from .steps import Step

__all__ = ["check_place", "check_reset"]

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


def check_reset(session: Session, step: Step[Any]) -> None:
    """Raise `ScriptError` if `step` resets connections and the server can't: a Unix-domain socket has no reset."""
    if not session.can_reset and step.method in _WITHOUT_RESET:
        raise ScriptError(f"{step}: a Unix-domain socket has no reset, only a close; use "
                          f"{_WITHOUT_RESET[step.method]}")


def check_place(conversation: Conversation, step: Step[Any], *, by_handler: bool = False) -> None:
    """Raise `ScriptError` if `step` may not come next in this connection's script, which must have begun.

    `by_handler` says that a handler adds the step. After `hand_over()`, only the handler may add steps. Hand-overs and
    ends of streams are recorded in `conversation`, since they restrict the steps after them.
    """
    if conversation.handed is not None and not by_handler:
        raise ScriptError(f"{step} comes after {conversation.handed} on connection {conversation.number}, after "
                          "which only the handler adds steps; expect_connect() begins the next connection")
    if conversation.beside is not None and conversation.beside.writing is not None:
        conversation.beside.writing.check(step)
    if step.method == "hand_over":
        conversation.handed = step
    if step.method in ("expect_silence", "start_tls"):
        from .paused import check_seen
        check_seen(conversation, step)
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
        from .after_eof import check_after_eof
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
