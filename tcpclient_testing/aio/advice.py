"""Finds the one hint that the report of a failure may give. There is a hint only if the evidence supports it.

There are hints on:

- TLS;
- line endings;
- lengths that count their own header (`counted_header`);
- replies that the client left unread (`left_unread`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.framing import Delimited
from tcpclient_testing.transcript.entries import RECEIVED

from .client_hello import is_client_hello
from .length_advice import counted_header
from .unread_advice import left_unread

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation import Conversation
    from tcpclient_testing.engine.message import Message
    from tcpclient_testing.engine.session import Failure
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["advice_on"]

__unittest = True


def advice_on(failure: Optional[Failure], transcript: Transcript) -> Optional[str]:
    """Return what to do about a failure, or None if its cause is not clear. The mismatch's own hint comes first."""
    conversation = None if failure is None else failure.conversation
    if failure is None or conversation is None:
        return None
    hint: Optional[str] = getattr(failure.mismatch, "hint", None)
    if hint is not None:
        return hint
    if conversation.tls is None and getattr(failure.step, "method", "") != "start_tls":
        hint = _plain_server(conversation, transcript)
    elif conversation.reset and conversation.tls is not None and conversation.tls.done:
        hint = _unread_tickets(conversation)
    return hint or _line_ending(failure, transcript) or counted_header(failure, conversation) \
        or left_unread(conversation, transcript)


def _plain_server(conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """For a client that spoke TLS to a server that speaks none, or that has not come to its `start_tls()` yet."""
    number = conversation.number
    if not any(entry.number == number and entry.what == "received" and is_client_hello(entry.content)
               for entry in transcript):
        return None
    if any(step.method == "start_tls" for step in conversation.steps):
        return ("the client began its TLS handshake before the script reached start_tls(): it has to wait for the "
                "server's go-ahead, the last thing that the script sends before start_tls()")
    return ("the client began a TLS handshake, and the server speaks no TLS here: MockTCPServer(tls=True), or "
            "start_tls() in the script")


def _line_ending(failure: Failure, transcript: Transcript) -> Optional[str]:
    """For a client whose lines end in LF where the script expects CR LF, or the reverse."""
    conversation, framing = failure.conversation, getattr(failure.step, "framing", None)
    if conversation is None or not isinstance(framing, Delimited):
        return None
    line = _line_at_fault(failure, conversation, transcript)
    if framing.delimiter == b"\r\n" and line.endswith(b"\n") and not line.endswith(b"\r\n"):
        return ("the client's line ends in LF alone, the script's in CR LF: write ending=b'\\n' in the script, or fix "
                "the client")
    if framing.delimiter == b"\n" and line.endswith(b"\r\n"):
        return ("the client's line ends in CR LF, the script's in LF alone: write ending=b'\\r\\n' in the script, or "
                "fix the client")
    return None


def _line_at_fault(failure: Failure, conversation: Conversation, transcript: Transcript) -> bytes:
    """Return the client's line that the step has read, or was reading, including its LF if that has arrived.

    Return ``b""`` if the transcript no longer has the line.
    """
    reading: Optional[Message] = getattr(failure.step, "reading", None)
    size = sum(map(len, conversation.pending)) + (0 if reading is None else reading.used)
    try:
        received = transcript.stream(conversation.number, RECEIVED)
    except BufferError:
        return b""
    line, end, _ = received[max(0, len(received) - size):].partition(b"\n")
    return line + end


def _unread_tickets(conversation: Conversation) -> Optional[str]:
    """For a client that closed with session tickets of TLS 1.3 unread: unread data turns a close into a reset."""
    tls = conversation.tls
    if tls is None or not getattr(tls.context, "num_tickets", 0) or tls.info.version != "TLSv1.3":
        return None
    return ("the server's ssl.SSLContext sends session tickets, and the close of a client that has not read them is a "
            "reset: set context.num_tickets = 0, as tcpclient_testing.tls.server_context() does")
