"""Advice if the client's frame lengths include their own header and the script's don't, or the reverse.

The evidence is a difference of exactly the header's size between the announced length and one of these:

- the length of the expected payload
- the number of bytes that came before the client fell silent or ended its stream
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.expectations import ExpectMessage
from tcpclient_testing.engine.framing import LengthPrefixed
from tcpclient_testing.engine.mismatches import LengthDiffers
from tcpclient_testing.engine.wording import counted

if TYPE_CHECKING:
    from tcpclient_testing.engine.conversation import Conversation
    from tcpclient_testing.engine.session import Failure

__all__ = ["counted_header"]

__unittest = True


def counted_header(failure: Failure, conversation: Conversation) -> Optional[str]:
    """The advice; None if there is no evidence for it."""
    step = failure.step
    if step is None or not step.reads:
        step = next((each for each in reversed(conversation.steps[:conversation.cursor]) if each.is_expectation), None)
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
    return -sum(map(len, conversation.pending))
