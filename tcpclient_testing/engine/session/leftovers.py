"""The rules for what is left when every step is satisfied: unexplained connections and bytes, unused faults.

A connection that no step expects is also the usual cause if another one is silent or stays open: a client that connects
twice talks on the new connection and has forgotten the old one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.lifecycle import ExpectEof
from tcpclient_testing.engine.wording import address_text, counted, shorten

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation.conversation import Conversation

    from .session import Session

__all__ = ["judge_leftovers", "unexplained", "unexpected_connections"]

__unittest = True

_NAMED = 3


def judge_leftovers(session: Session, *, allow_open: bool, allow_extra: bool) -> None:
    """Fail the session for the first leftover that is not allowed.

    `allow_open` permits clients that are still connected, `allow_extra` bytes and connections that no step explains.
    """
    for conversation in session.conversations:
        if conversation.fault is not None and not conversation.fault.struck:
            session.fail(conversation, conversation.fault, conversation.fault.missed(conversation))
        if conversation.broken is not None and conversation.steps \
                and conversation.steps[-1].method != "expect_tls_failure":
            session.fail(conversation, None, conversation.broken)
        eof = conversation.got_eof
        if isinstance(eof, ExpectEof) and eof.was_reset and conversation.steps[-1].method != "expect_reset":
            session.fail(conversation, eof, eof.reset())
        extra = None if allow_extra else unexplained(conversation)
        if extra is not None:
            session.fail(conversation, None, Mismatch(extra, received=conversation.unclaimed(), offset=0))
        if not (allow_open or conversation.ended or conversation.draining or conversation.closed):
            if conversation.paused is not None:
                from tcpclient_testing.engine.steps.waiting import paused_text
                session.fail(conversation, None, Mismatch("the script is complete, but the server is left and has not "
                                                          f"seen the client disconnect: {paused_text(conversation)}"))
            peer = address_text(conversation.peername)
            session.fail(conversation, None, Mismatch(
                f"the script is complete, but the client {peer} is still connected when the server is left"
                f"{unexpected_connections(session)}"))


def unexplained(conversation: Conversation) -> Optional[str]:
    """Describe what no step explains on a connection whose script is complete; return None if there is nothing."""
    session, came = conversation.session, conversation.unclaimed()
    if not conversation.steps:
        sent = f", and sent {counted(len(came), 'byte')}: {shorten(came)}" if came else ""
        times = {1: "once", 2: "twice"}.get(session.accepted, f"{session.accepted} times")
        expected = counted(session.expected, "connection") if session.expected else "no connection"
        return f"the client connected {times}, but the script expects {expected}{sent}"
    if came:
        used = ""
        if conversation.selection is not None:
            from tcpclient_testing.engine.conversation.candidates import used_up
            used = used_up(conversation)
        return f"the script is complete, but the client sent {counted(len(came), 'more byte')}: {shorten(came)}{used}"
    return None


def unexpected_connections(session: Session) -> str:
    """Return the end of a mismatch's text that names the connections no step expects; "" if there are none."""
    if session.allow_extra:
        return ""
    unexpected = [conversation for conversation in session.conversations
                 if conversation.accepted and not conversation.steps and conversation.pool is None]
    if not unexpected:
        return ""
    named = ", ".join(address_text(conversation.peername) for conversation in unexpected[:_NAMED])
    more = ", ..." if len(unexpected) > _NAMED else ""
    times = f"{len(unexpected)} more times" if len(unexpected) > 1 else \
        "a second time" if session.accepted == 2 else "once more"
    return f"; meanwhile the client connected {times} ({named}{more}), which no step expects"
