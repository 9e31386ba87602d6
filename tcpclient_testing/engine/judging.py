"""How a message is judged: the base classes of matchers.

A matcher is a value that stands in a script, often used several times; a judge belongs to one message:

    matcher.judge() -> judge
    judge.announce(length)?  judge.feed(piece)*  judge.finish()

and the first mismatch ends it: neither feed nor finish may be called after one. The verdict and the result are
functions of the bytes alone, never of how they were divided into pieces; only *when* a mismatch is seen (as early as
can be), and so how much of the message its text can quote, depends on the pieces.
"""

from __future__ import annotations

from typing import Any, Generic, Optional, TypeVar, Union

from .mismatches import CheckRaised, Mismatch, Unmatched
from .wording import shorten_repr

__all__ = ["KEPT", "BytesLike", "GatheringJudge", "Judge", "Match", "Matcher", "apply", "apply_to_value"]

__unittest = True

BytesLike = Union[bytes, bytearray, memoryview]

T = TypeVar("T")

KEPT = 64 * 1024
"""How many of the last bytes of a message `Judge.partial` gives at most."""


class Match(Generic[T]):
    """The message is the expected one; `result` is the result of the step that expected it."""

    __slots__ = ("result",)

    def __init__(self, result: T) -> None:
        self.result = result

    def __repr__(self) -> str:
        return f"Match({shorten_repr(self.result)})"


class Judge(Generic[T]):
    """Judges one message, piece by piece. Implement `feed`, `finish` and `partial`; `announce` if it can tell more.

    `received` is the number of payload bytes fed so far; `feed` adds to it.
    """

    __slots__ = ("received",)

    def __init__(self) -> None:
        self.received = 0

    def announce(self, length: int) -> Optional[Mismatch]:
        """Take the length of the payload in bytes, learnt from a header; a mismatch if no such payload can match."""
        del length
        return None

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        """Take the next piece of payload; a mismatch as soon as the message can't match any more.

        The piece may be a view into a buffer that is overwritten after the call: copy what you keep.
        """
        raise NotImplementedError

    def finish(self) -> Union[Match[T], Mismatch]:
        """Judge the message, which is complete."""
        raise NotImplementedError

    def partial(self) -> bytes:
        """What has come so far, for reports: all of it, or the last bytes of it where there is much (`KEPT`)."""
        raise NotImplementedError


class Matcher(Generic[T]):
    """Decides whether a message is the expected one, and says how it differs.

    Subclass it and implement `match`; a `__repr__` is worth writing, since reports show the script with it. Override
    `judge` for messages that shall be judged before they are complete, or not be kept in memory, and `match_value` to
    be of use inside `JSON` and `Struct`.
    """

    __slots__ = ()

    def match(self, message: bytes) -> Union[Match[T], Mismatch]:
        """Judge a whole message: ``Match(result)``, or a `Mismatch` that says how it differs."""
        raise NotImplementedError(f"{type(self).__name__} must implement match(message)")

    def judge(self) -> Judge[T]:
        """A judge for one message. This one gathers its pieces and calls `match` at the end."""
        return GatheringJudge(self)

    def match_value(self, value: Any) -> Union[Match[Any], Mismatch]:
        """Judge a value inside a message: a value of a JSON text, a field of a structure.

        Unless overridden, it is text that `match` gets: bytes as they are, a `str` in UTF-8, and nothing else matches.
        """
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass")
        if isinstance(value, bytes):
            return self.match(value)
        return Mismatch(f"expected text for {self!r}, got {shorten_repr(value)}")


class GatheringJudge(Judge[T]):
    """Keeps the pieces and judges the whole message at its end: the judge of matchers that only have `match`."""

    __slots__ = ("_matcher", "_pieces")

    def __init__(self, matcher: Matcher[T]) -> None:
        super().__init__()
        self._matcher = matcher
        self._pieces: list[bytes] = []

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        """Keep a copy of the piece."""
        self.received += len(piece)
        self._pieces.append(bytes(piece))
        return None

    def finish(self) -> Union[Match[T], Mismatch]:
        """Give the whole message to the matcher."""
        return apply(self._matcher, b"".join(self._pieces))

    def partial(self) -> bytes:
        """The last bytes that came."""
        return b"".join(self._pieces)[-KEPT:]


def apply(matcher: Matcher[T], message: bytes) -> Union[Match[T], Mismatch]:
    """``matcher.match(message)``, where the user's matcher raises or forgets to return: then that is the mismatch."""
    try:
        verdict = matcher.match(message)
    except Exception as error:  # noqa: BLE001 - a user's code: whatever it raises is kept in the mismatch
        return CheckRaised(shorten_repr(matcher, 200), message, error)
    return _checked(matcher, verdict, message)


def apply_to_value(matcher: Matcher[T], value: Any) -> Union[Match[Any], Mismatch]:
    """``matcher.match_value(value)``, with the same care."""
    try:
        verdict = matcher.match_value(value)
    except Exception as error:  # noqa: BLE001 - a user's code: whatever it raises is kept in the mismatch
        return CheckRaised(shorten_repr(matcher, 200), value, error)
    return _checked(matcher, verdict, value)


def _checked(matcher: Matcher[T], verdict: Any, message: Any) -> Union[Match[T], Mismatch]:
    if isinstance(verdict, (Match, Mismatch)):
        return verdict
    reason = f"its match returned {shorten_repr(verdict)}, neither a Match nor a Mismatch"
    return Unmatched(shorten_repr(matcher, 200), message, reason)
