"""Reads one message: a framing's reader separates it from the stream, and a matcher's judge judges it.

Both may be the user's own code. If it raises, or returns what its contract does not allow, that is a mismatch like any
other: the script fails, and the report has the traceback. It never raises in the callback that delivered the bytes.
"""

from __future__ import annotations

from typing import Any, Optional, Union

from tcpclient_testing.engine.framing.base import Framing, FramingError
from tcpclient_testing.engine.framing.sized import FixedLength
from tcpclient_testing.engine.mismatches import Mismatch, ReadingRaised
from tcpclient_testing.engine.wording import brief, counted, shorten, shorten_repr

from .base import Match, Matcher
from .exact import Exactly, StartsWith

__all__ = ["Message", "check_possible", "takes_no_bytes"]

__unittest = True


class Message:
    """A framing's reader and a matcher's judge, fed with the next bytes of the stream.

    `feed` returns the number of bytes that it used, and one of None (more bytes are needed), a `Match` or a `Mismatch`.
    `used` is the number of bytes used so far.
    """

    __slots__ = ("reader", "judge", "used", "_announced")

    def __init__(self, framing: Framing, matcher: Matcher[Any]) -> None:
        self.reader = framing.reader()
        self.judge = matcher.judge()
        self.used = 0
        self._announced = False

    def feed(self, data: memoryview) -> tuple[int, Union[Match[Any], Mismatch, None]]:
        """Read the next bytes, but none beyond the end of this message."""
        asked: Any = self.reader
        used = 0
        try:
            try:
                part = asked.feed(data)
            except FramingError as error:
                asked = self.judge
                # Judge the payload before the malformed byte first: a mismatch in it is the earlier one. The outcome
                # must not depend on how the stream was split.
                return 0, (asked.feed(error.payload) if len(error.payload) else None) or error.mismatch
            used = part.consumed
            if used != len(data) and not (part.complete and 0 <= used < len(data)):
                # Without this check, a reader that consumes nothing would be called for ever.
                return 0, Mismatch(f"{_name(asked)}.feed() returned {part!r} for {counted(len(data), 'byte')}; it must "
                                   "consume all of them, unless the message is complete before their end")
            self.used += used
            if not self._announced and asked.length is not None:
                self._announced = True
                asked = self.judge
                mismatch = asked.announce(self.reader.length)
                if mismatch is not None:
                    return used, mismatch
            asked = self.judge
            if len(part.payload):
                mismatch = asked.feed(part.payload)
                if mismatch is not None:
                    return used, mismatch
            return used, self._finished() if part.complete else None
        except Exception as error:  # noqa: BLE001 - a user's framing or matcher: whatever it raises is in the report
            return used, ReadingRaised(_name(asked), error)

    def _finished(self) -> Union[Match[Any], Mismatch]:
        outcome: Any = self.judge.finish()
        if isinstance(outcome, (Match, Mismatch)):
            return outcome
        return Mismatch(f"{_name(self.judge)}.finish() returned {shorten_repr(outcome)}, "
                        "neither a Match nor a Mismatch")

    # For reports. Something else is wrong already when one is made, so exceptions are ignored here.

    def waiting_for(self) -> str:
        """Say what is still to come, as the text that follows "expected "."""
        try:
            return self.reader.waiting_for()
        except Exception:  # noqa: BLE001 - a user's framing
            return f"a message that {_name(self.reader)} reads"

    def so_far(self) -> bytes:
        """Return the bytes that have come, as far as they are known."""
        try:
            return self.judge.partial() + self._unfinished()
        except Exception:  # noqa: BLE001 - a user's matcher
            return self._unfinished()

    def progress(self) -> str:
        """Say what has come so far, as the text that follows "expected a line, "."""
        so_far = self.so_far()
        count = self.judge.received + len(self._unfinished())
        return f"got {counted(count, 'byte')} ({brief(so_far)})" if count else "got nothing"

    def _unfinished(self) -> bytes:
        try:
            return self.reader.unfinished()
        except Exception:  # noqa: BLE001 - a user's framing
            return b""


_OURS = __name__.partition(".")[0] + "."


def check_possible(method: str, shown: Optional[str], framing: Framing, matcher: Matcher[Any]) -> None:
    """Raise `ValueError` if no message of this framing can ever match.

    Its text begins with the call: `method`, with its arguments as `shown`; None is the bytes of `matcher` alone. Only
    framings and matchers of this package are checked, since a user's may only support reading.
    """
    if isinstance(framing, FixedLength):
        wrong = matcher.judge().announce(framing.length) if _is_ours(type(matcher).judge) else None
        wanted = getattr(wrong, "expected", None)
        if wanted is not None:
            least = "at least " if isinstance(matcher, StartsWith) else ""
            raise ValueError(f"{_called(method, shown, matcher)} can never be met: the message has "
                             f"{counted(framing.length, 'byte')}, and {matcher!r} takes {least}{wanted}")
    elif isinstance(matcher, Exactly) and _is_ours(type(framing).encode):
        try:
            framing.encode(matcher.data)
        except ValueError as error:
            raise ValueError(f"{_called(method, shown, matcher)} can never be met: {error}") from None


def _called(method: str, shown: Optional[str], matcher: Any) -> str:
    return f"{method}({shorten(matcher.data) if shown is None else shown})"


def takes_no_bytes(framing: Framing, matcher: Matcher[Any]) -> bool:
    """Return whether a message can be complete with zero bytes. If so, it would come again and again without end."""
    _, outcome = Message(framing, matcher).feed(memoryview(b""))
    return outcome is not None and not isinstance(outcome, Mismatch)


def _is_ours(method: Any) -> bool:
    """Whether a method belongs to a framing or matcher of this package, and not to their base classes."""
    return str(getattr(method, "__module__", "")).startswith(_OURS) and method not in (Framing.encode, Matcher.judge)


def _name(asked: Any) -> str:
    return type(asked).__name__
