"""Finds the cause behind a mismatch, and the one hint that a report may give, as far as the evidence supports them.

A mismatch says what differs. The transcript may show why: then the report's first line says that, and the mismatch
follows below. There are causes and hints on:

- TLS;
- line endings;
- lengths that count their own header (`counted_header`);
- replies that the client left unread (`unread_data`).

A length that counts its header, and data that was sent before the client last sent something, are only a hint.

The evidence for lengths that count their own header is a difference of exactly the header's size between the announced
length and one of these:

- the length of the expected payload
- the number of bytes that came before the client fell silent or ended its stream

A client that only closed its connection may thereby have reset it, because it had left data unread. The operating
system answers with a reset to data that arrives for a closed socket. Closing a socket with unread data sends a reset as
well (RFC 1122, 4.2.2.13). The server can't see what the client has read, only what it was sent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional

from tcpclient_testing.engine.connection.client_hello import is_client_hello
from tcpclient_testing.engine.connection.handshake import HANDSHAKE_DONE
from tcpclient_testing.engine.connection.tls_failure import CLIENT, TLSFailure
from tcpclient_testing.engine.framing.delimited import Delimited
from tcpclient_testing.engine.framing.sized import LengthPrefixed
from tcpclient_testing.engine.matching.exact import StartsWith
from tcpclient_testing.engine.matching.json_text import JSON
from tcpclient_testing.engine.matching.patterns import Regex
from tcpclient_testing.engine.mismatches import LengthDiffers, Mismatch
from tcpclient_testing.engine.steps.messages import ExpectMessage
from tcpclient_testing.engine.wording import brief, counted
from tcpclient_testing.transcript.entries import NOTED, RECEIVED, SENT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpclient_testing.engine.connection.handshake import Handshake
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.environment import Failure
    from tcpclient_testing.engine.matching.reading import Message
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.transcript.entries import Transcript
    from tcpclient_testing.transcript.entry import Entry

__all__ = ["Diagnosis", "counted_header", "diagnose", "unread_data"]

__unittest = True

# How many bytes of unread data are looked at.
_SHOWN = 32


class Diagnosis(NamedTuple):
    """What is behind a mismatch: its `cause`, for the first line, and a `hint` on what to do. None is not known.

    `alone` says that the mismatch itself would only distract from the cause.
    """

    cause: Optional[str] = None
    hint: Optional[str] = None
    alone: bool = False


def diagnose(session: Session, transcript: Transcript) -> Diagnosis:
    """Return what is behind the failure. The mismatch's own hint comes first."""
    failure = session.environment.failure
    if failure is None or failure.number is None:
        return Diagnosis()
    conversation = session.connections.all[failure.number - 1]
    header = counted_header(failure, conversation)
    handshake = conversation.handshake
    found: Optional[Diagnosis] = None
    if handshake is None and not getattr(failure.step, "starts_tls", False):
        found = _plain_server(conversation, transcript)
    found = found or _line_ending(failure, conversation, transcript) or header
    if found is None and failure.mismatch.hint is not None:
        return Diagnosis(hint=failure.mismatch.hint)
    found = found or unread_data(failure, conversation, transcript)
    if found is None and conversation.inbox.reset and handshake is not None and handshake.done:
        found = _unread_tickets(handshake)  # which come before all else that the server sends
    if found is None and conversation.inbox.reset and failure.step is not None and failure.step.answers_end:
        return Diagnosis(hint="the client had nothing left to read: look for SO_LINGER with a time of 0, or for a "
                              "process that was killed; or write expect_reset(), if it is to reset")
    return found or _missing_step(failure) or Diagnosis()


def _missing_step(failure: Failure) -> Optional[Diagnosis]:
    """For a message that is another one altogether, in mid-conversation: perhaps the client is right."""
    step, mismatch = failure.step, failure.mismatch
    if step is None or step.index < 2 or mismatch.offset != 0 or not (
            isinstance(mismatch.expected, bytes) and isinstance(mismatch.received, bytes) and mismatch.received):
        return None
    return Diagnosis(hint=f"if the client is right to send {brief(mismatch.received)} here, a step for it is missing "
                          "from the script")


def refusal(failure: Failure, raised: Sequence[BaseException]) -> Optional[Diagnosis]:
    """For a client that has refused the server's certificate, when the server saw only its end.

    `raised` are the exceptions of clients, before the failure and after it.
    """
    if not isinstance(failure.mismatch, TLSFailure) or failure.mismatch.by != CLIENT:
        return None
    # By its name: nothing here imports ssl.
    why = [getattr(exc, "verify_message", "") for exc in raised if type(exc).__name__ == "SSLCertVerificationError"]
    return Diagnosis(f"the client refused the server's certificate: {why[0]}", failure.mismatch.hint,
                     alone=True) if why else None


def _plain_server(conversation: Conversation, transcript: Transcript) -> Optional[Diagnosis]:
    """For a client that spoke TLS to a server that speaks none, or that has not come to its `start_tls()` yet."""
    number = conversation.number
    if not any(entry.number == number and entry.what == "received" and is_client_hello(entry.content)
               for entry in transcript):
        return None
    if any(step.starts_tls for step in conversation.script.steps):
        return Diagnosis("the client began its TLS handshake before the script reached start_tls()",
                         "the client has to wait for the server's go-ahead, the last thing that the script sends "
                         "before start_tls()", alone=True)
    return Diagnosis("the client began a TLS handshake, and this server speaks plain text",
                     "give the server the option tls=True, or write start_tls() in the script; or let the client "
                     "connect without TLS", alone=True)


def _line_ending(failure: Failure, conversation: Conversation, transcript: Transcript) -> Optional[Diagnosis]:
    """For a client whose lines end in LF where the script expects CR LF, or the reverse."""
    framing = getattr(failure.step, "framing", None)
    if not isinstance(framing, Delimited):
        return None
    line = _line_at_fault(failure, conversation, transcript)
    if framing.delimiter == b"\r\n" and line.endswith(b"\n") and not line.endswith(b"\r\n"):
        theirs, ours, ending = "LF alone", "CR LF", b"\n"
    elif framing.delimiter == b"\n" and line.endswith(b"\r\n"):
        theirs, ours, ending = "CR LF", "LF alone", b"\r\n"
    else:
        return None
    text, wanted, wrong = line[:-len(ending)], failure.mismatch.expected, failure.mismatch.offset
    differs = f"the client's line {brief(text, room=30)} ends in {theirs}, the script's in {ours}"
    advice = f"let the client send {framing.delimiter!r}; or write ending={ending!r}, for the step or for the server"
    if (isinstance(wanted, bytes) and not text.startswith(wanted)) or (wrong is not None and wrong < len(text)) \
            or _is_refused(failure, text):
        # The text is wrong, too, and that comes first.
        return Diagnosis(hint=f"{differs}: {advice}")
    return Diagnosis(differs, advice)


def _is_refused(failure: Failure, text: bytes) -> bool:
    """Whether the step's matcher does not match the line without its ending, as far as that can be asked.

    A test's own code is not called again.
    """
    matcher = getattr(failure.step, "matcher", None)
    return isinstance(matcher, (Regex, JSON, StartsWith)) and isinstance(matcher.match(text), Mismatch)


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


def _unread_tickets(handshake: Handshake) -> Optional[Diagnosis]:
    """For a client that closed with session tickets of TLS 1.3 unread: unread data turns a close into a reset."""
    if not getattr(handshake.context, "num_tickets", 0) or handshake.info.version != "TLSv1.3":
        return None
    return Diagnosis("the client closed with the server's TLS session tickets unread (a reset)",
                     "set num_tickets = 0 on the server's ssl.SSLContext, as tcpclient_testing.tls.server_context() "
                     "does")


def counted_header(failure: Failure, conversation: Conversation) -> Optional[Diagnosis]:
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
    return Diagnosis(hint=f"the length announced is {counted(abs(too_long), 'byte')} "
                          f"{'more' if too_long > 0 else 'less'} than {than}: does the client's length "
                          f"{'include' if too_long > 0 else 'leave out'} the header, as {other!r} has it?")


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


def unread_data(failure: Failure, conversation: Conversation, transcript: Transcript) -> Optional[Diagnosis]:
    """For a client that reset the connection, and had been sent something."""
    if not conversation.inbox.reset:
        return None
    before: list[Entry] = []
    latest: list[Entry] = []
    for entry in transcript:
        if entry.number != conversation.number:
            continue
        if entry.what == RECEIVED:
            before += latest
            latest = []
        elif entry.what == SENT:
            latest.append(entry)
        elif entry.what == NOTED and entry.content.startswith(HANDSHAKE_DONE):
            before, latest = [], []  # the client has read what it was sent in clear, or it could not have finished it
    total, last = sum(entry.size for entry in [*before, *latest]), sum(entry.size for entry in latest)
    untaken = transcript.untaken.get(conversation.number, 0)
    total, last = total - untaken, max(last - untaken, 0)
    if not total:
        return None
    close = "a client that closes with data unread resets the connection"
    if not last:
        return Diagnosis(hint=f"{close}: has it read all of the {counted(total, 'byte')} that it was sent?")
    shown = b"".join(entry.content[:_SHOWN] for entry in latest[:_SHOWN])[:last]
    data = f"{counted(last, 'byte')} {brief(shown, room=40)}"
    # Where the script did not expect the end of the stream, its coming is the failure, and how it came is a detail.
    if failure.step is not None and not failure.step.answers_end:
        return Diagnosis(hint=f"{close}: has it read all of the {data} that it was sent last?")
    return Diagnosis(f"the client closed with the {data} unread (a reset)",
                     "let the client read all that it was sent before it closes: closing with data unread resets the "
                     "connection; if it resets on purpose, write expect_reset()")
