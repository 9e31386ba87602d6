"""The one piece of advice that a report may give where TLS is concerned, as far as there is evidence for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from .client_hello import is_client_hello

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation import Conversation
    from tcpclient_testing.engine.session import Failure
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["tls_advice"]

__unittest = True


def tls_advice(failure: Optional[Failure], transcript: Transcript) -> Optional[str]:
    """What to do about a failure, if TLS (or the lack of it) seems to be at the bottom of it."""
    conversation = None if failure is None else failure.conversation
    if failure is None or conversation is None:
        return None
    hint: Optional[str] = getattr(failure.mismatch, "hint", None)
    if hint is not None:
        return hint
    if conversation.tls is None:
        return _plain_server(conversation, transcript)
    return _unread_tickets(conversation) if conversation.reset and conversation.tls.done else None


def _plain_server(conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """For a client that spoke TLS to a server that doesn't."""
    number = conversation.number
    if any(entry.number == number and entry.what == "received" and is_client_hello(entry.content)
           for entry in transcript):
        return ("the client began a TLS handshake, and the server speaks no TLS here: MockTCPServer(tls=True), or "
                "start_tls() in the script")
    return None


def _unread_tickets(conversation: Conversation) -> Optional[str]:
    """For a client that closed without having read the session tickets of TLS 1.3, which makes the close a reset."""
    tls = conversation.tls
    if tls is None or not getattr(tls.context, "num_tickets", 0) or tls.info.version != "TLSv1.3":
        return None
    return ("the server's ssl.SSLContext sends session tickets, and the close of a client that has not read them is a "
            "reset: set context.num_tickets = 0, as tcpclient_testing.tls.server_context() does")
