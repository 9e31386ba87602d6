"""Finds the one hint that the report of a failure may give. There is a hint only if the evidence supports it.

There are hints on:

- TLS;
- line endings;
- lengths that count their own header (`counted_header`);
- replies that the client left unread (`unread_data_hint`).

The evidence for lengths that count their own header is a difference of exactly the header's size between the announced
length and one of these:

- the length of the expected payload
- the number of bytes that came before the client fell silent or ended its stream

A client that only closed its connection may thereby have reset it, because it had left data unread. The operating
system answers with a reset to data that arrives for a closed socket. Closing a socket with unread data sends a reset as
well (RFC 1122, 4.2.2.13). The server can't see what the client has read, only what it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.connection.client_hello import is_client_hello
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.mismatches import LengthDiffers
from tcpclient_testing.engine.steps.messages import ExpectMessage
from tcpclient_testing.engine.wording import counted
from tcpclient_testing.transcript.entries import RECEIVED, SENT

if TYPE_CHECKING:
    from tcpclient_testing.engine.connection.handshake import Handshake
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Failure
    from tcpclient_testing.engine.matching.reading import Message
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["advice_on", "counted_header", "unread_data_hint"]

__unittest = True


def advice_on(session: Session, transcript: Transcript) -> Optional[str]:
    """Return what to do about the failure, or None if its cause is not clear. The mismatch's own hint comes first."""
    failure = session.environment.failure
    if failure is None or failure.number is None:
        return None
    conversation = session.connections.all[failure.number - 1]
    hint: Optional[str] = getattr(failure.mismatch, "hint", None)
    if hint is not None:
        return hint
    handshake = conversation.handshake
    if handshake is None and not getattr(failure.step, "starts_tls", False):
        hint = _plain_server(conversation, transcript)
    elif conversation.inbox.reset and handshake is not None and handshake.done:
        hint = _unread_tickets(handshake)
    return hint or _line_ending(failure, conversation, transcript) or counted_header(failure, conversation) \
        or unread_data_hint(conversation, transcript)


def _plain_server(conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """For a client that spoke TLS to a server that speaks none, or that has not come to its `start_tls()` yet."""
    number = conversation.number
    if not any(entry.number == number and entry.what == "received" and is_client_hello(entry.content)
               for entry in transcript):
        return None
    if any(step.starts_tls for step in conversation.script.steps):
        return ("the client began its TLS handshake before the script reached start_tls(): it has to wait for the "
                "server's go-ahead, the last thing that the script sends before start_tls()")
    return ("the client began a TLS handshake, and the server speaks no TLS here: MockTCPServer(tls=True), or "
            "start_tls() in the script")


def _line_ending(failure: Failure, conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """For a client whose lines end in LF where the script expects CR LF, or the reverse."""
    framing = getattr(failure.step, "framing", None)
    if not isinstance(framing, Delimited):
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
    size = sum(map(len, conversation.inbox.pending)) + (0 if reading is None else reading.used)
    try:
        received = transcript.stream(conversation.number, RECEIVED)
    except BufferError:
        return b""
    line, end, _ = received[max(0, len(received) - size):].partition(b"\n")
    return line + end


def _unread_tickets(handshake: Handshake) -> Optional[str]:
    """For a client that closed with session tickets of TLS 1.3 unread: unread data turns a close into a reset."""
    if not getattr(handshake.context, "num_tickets", 0) or handshake.info.version != "TLSv1.3":
        return None
    return ("the server's ssl.SSLContext sends session tickets, and the close of a client that has not read them is a "
            "reset: set context.num_tickets = 0, as tcpclient_testing.tls.server_context() does")


def counted_header(failure: Failure, conversation: Conversation) -> Optional[str]:
    """The advice; None if there is no evidence for it."""
    step = failure.step
    if step is None or not step.reads:
        step = conversation.script.expectation_before(conversation.script.cursor.position)
    framing = getattr(step, "framing", None)
    if not isinstance(step, ExpectMessage) or type(framing) is not LengthPrefixed:
        return None
    if step is not failure.step:
        too_long, than = _more_came(conversation), "came"
    elif isinstance(failure.mismatch, LengthDiffers):
        too_long, than = _announced(failure.mismatch), "expected"
    else:
        too_long, than = _less_came(failure, step), "came"
    # A length that includes the header is too long for a script whose lengths don't; and the reverse.
    if too_long != (-framing.size if framing.includes_header else framing.size):
        return None
    other = LengthPrefixed(framing.size, byteorder=framing.byteorder, includes_header=not framing.includes_header,
                           max_length=framing.max_length)
    return (f"the length announced is {counted(abs(too_long), 'byte')} {'more' if too_long > 0 else 'less'} than "
            f"{than}: does the client's length {'include' if too_long > 0 else 'leave out'} the header, as {other!r} "
            "has it?")


def _announced(mismatch: LengthDiffers) -> int:
    """How many bytes longer the announced frame is than the expected one."""
    return mismatch.received - mismatch.expected if mismatch.offset is None else 0


def _less_came(failure: Failure, step: ExpectMessage[Any]) -> int:
    """How many bytes of the frame were missing when the client fell silent or ended its stream."""
    reading = step.reading
    if failure.mismatch.offset is not None or reading is None or reading.reader.length is None:
        return 0
    return reading.reader.needed()


def _more_came(conversation: Conversation) -> int:
    """Minus the number of bytes that came after the last frame and that no step takes."""
    return -sum(map(len, conversation.inbox.pending))


def unread_data_hint(conversation: Conversation, transcript: Transcript) -> Optional[str]:
    """Return the hint if the client reset the connection and had been sent something; else None."""
    if not conversation.inbox.reset:
        return None
    total = latest = 0
    for entry in transcript:
        if entry.number != conversation.number:
            continue
        if entry.what == RECEIVED:
            latest = 0
        elif entry.what == SENT:
            total += entry.size
            latest += entry.size
    untaken = transcript.untaken.get(conversation.number, 0)
    total, latest = total - untaken, max(latest - untaken, 0)
    if not total:
        return None
    which = f"{counted(latest, 'byte')} that it was sent last" if latest else \
        f"{counted(total, 'byte')} that it was sent"
    return f"a client that closes with data unread resets the connection: has it read all of the {which}?"
