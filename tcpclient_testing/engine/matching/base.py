"""The base classes of matchers, and of the judges by which matchers judge messages.

A matcher is a value in a script, and may be used several times. A judge belongs to one message:

    matcher.judge() -> judge
    judge.announce(length)?  judge.feed(piece)*  judge.finish()

The first mismatch ends it: call neither `feed` nor `finish` after one.

The verdict and the result depend on the bytes alone, never on how they were split into pieces. Only one thing depends
on the pieces: *when* a mismatch is noticed (as early as possible), and so how much of the message its text can quote.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar, Union

from tcpclient_testing.engine.mismatches import CheckRaised, Mismatch, Unmatched
from tcpclient_testing.engine.wording import shorten_repr

if TYPE_CHECKING:
    from tcpclient_testing.engine.arguments import BytesLike

__all__ = ["KEPT", "GatheringJudge", "Judge", "Match", "Matcher", "apply", "apply_to_value"]

__unittest = True

T = TypeVar("T")

KEPT = 64 * 1024

"""The most bytes that `Judge.partial` returns: the last ones of the message."""


class Match(Generic[T]):
    """The message is the expected one. `result` becomes the result of the step that expected it."""

    __slots__ = ("result",)

    def __init__(self, result: T) -> None:
        self.result = result

    def __repr__(self) -> str:
        return f"Match({shorten_repr(self.result)})"


class Judge(Generic[T]):
    """Judges one message, piece by piece.

    Implement `feed`, `finish` and `partial`. Override `announce` if the length alone can show a mismatch. `received` is
    the number of payload bytes fed so far; `feed` must add to it.
    """

    __slots__ = ("received",)

    def __init__(self) -> None:
        self.received = 0

    def announce(self, length: int) -> Optional[Mismatch]:
        """Take the payload's length in bytes, known from a header; return a mismatch if no such payload can match."""
        del length
        return None

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        """Take the next piece of payload; return a mismatch as soon as the message can't match any more.

        The piece may be a view into a buffer that is overwritten after the call: copy what you keep.
        """
        raise NotImplementedError

    def finish(self) -> Union[Match[T], Mismatch]:
        """Judge the message, which is complete: return a `Match` or a `Mismatch`."""
        raise NotImplementedError

    def partial(self) -> bytes:
        """Return what has come so far, for reports: all of it, or the last `KEPT` bytes if it is more."""
        raise NotImplementedError


class Matcher(Generic[T]):
    """Decides whether a message is the expected one, and says how it differs.

    Subclass it and implement `match`. Write a `__repr__` as well: reports show the script with it. Override

    - `judge` to judge messages before they are complete, or without keeping them in memory;
    - `match_value` to match more than text inside `JSON` and `Struct`.
    """

    __slots__ = ()

    def match(self, message: bytes) -> Union[Match[T], Mismatch]:
        """Judge a whole message: return ``Match(result)``, or a `Mismatch` that says how it differs."""
        raise NotImplementedError(f"{type(self).__name__} must implement match(message)")

    def judge(self) -> Judge[T]:
        """Return a judge for one message. By default it gathers the pieces and calls `match` at the end."""
        return GatheringJudge(self)

    def match_value(self, value: Any) -> Union[Match[Any], Mismatch]:
        """Judge a value inside a message: a value in a JSON text, or a field of a structure.

        By default, only text can match: it is passed to `match`, bytes as they are and a `str` encoded in UTF-8.
        """
        if isinstance(value, str):
            value = value.encode("utf-8", "surrogatepass")
        if isinstance(value, bytes):
            return self.match(value)
        return Mismatch(f"expected text for {self!r}, got {shorten_repr(value)}")


class GatheringJudge(Judge[T]):
    """Keeps the pieces and judges the whole message at its end. It serves matchers that only have `match`."""

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
        """Return the last bytes that have come."""
        return b"".join(self._pieces)[-KEPT:]


def apply(matcher: Matcher[T], message: bytes) -> Union[Match[T], Mismatch]:
    """Return ``matcher.match(message)``. If that raises, or returns something else, a mismatch says so."""
    try:
        verdict = matcher.match(message)
    except Exception as error:  # noqa: BLE001 - a user's code: whatever it raises is kept in the mismatch
        return CheckRaised(partial(shorten_repr, matcher, 200), message, error)
    return _checked(matcher, verdict, message)


def apply_to_value(matcher: Matcher[T], value: Any) -> Union[Match[Any], Mismatch]:
    """Return ``matcher.match_value(value)``, guarded in the same way as in `apply`."""
    try:
        verdict = matcher.match_value(value)
    except Exception as error:  # noqa: BLE001 - a user's code: whatever it raises is kept in the mismatch
        return CheckRaised(partial(shorten_repr, matcher, 200), value, error)
    return _checked(matcher, verdict, value)


def _checked(matcher: Matcher[T], verdict: Any, message: Any) -> Union[Match[T], Mismatch]:
    if isinstance(verdict, (Match, Mismatch)):
        return verdict
    reason = f"its match returned {shorten_repr(verdict)}, neither a Match nor a Mismatch"
    return Unmatched(partial(shorten_repr, matcher, 200), message, reason)
