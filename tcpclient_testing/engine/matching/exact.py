"""The matchers of plain bytes, `Exactly` and `StartsWith`: they compare a message while it arrives."""

from __future__ import annotations

from typing import Optional, Union

from tcpclient_testing.engine.arguments import BytesLike, as_bytes
from tcpclient_testing.engine.mismatches import BytesDiffer, LengthDiffers, Mismatch
from tcpclient_testing.engine.wording import first_difference, shorten

from .base import KEPT, GatheringJudge, Judge, Match, Matcher

__all__ = ["Exactly", "StartsWith"]

__unittest = True


class Exactly(Matcher[bytes]):
    """Matches exactly these bytes; the result is the bytes. Plain bytes in a script mean the same.

    `data` is bytes, a bytearray or a memoryview (the last two are copied). Raises `TypeError` for anything else. A
    wrong byte is a mismatch as soon as it arrives.
    """

    __slots__ = ("data",)

    def __init__(self, data: BytesLike) -> None:
        self.data = as_bytes(data, "Exactly(data)")

    def __repr__(self) -> str:
        return f"Exactly({shorten(self.data)})"

    def match(self, message: bytes) -> Union[Match[bytes], Mismatch]:
        """Judge a whole message."""
        judge = self.judge()
        return judge.feed(message) or judge.finish()

    def judge(self) -> Judge[bytes]:
        """Return a judge that compares in place and keeps nothing."""
        return _ExactJudge(self.data)


class _ExactJudge(Judge[bytes]):
    """Compares each piece with its place in the expected bytes: one memcmp, no copy unless they differ."""

    __slots__ = ("_expected", "_wrong")

    def __init__(self, expected: bytes) -> None:
        self.received = 0
        self._expected = expected
        self._wrong: Optional[bytes] = None

    def announce(self, length: int) -> Optional[Mismatch]:
        expected = len(self._expected)
        if length == expected:
            return None
        return LengthDiffers.announced(expected, self._expected, length)

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        start = self.received
        self.received += len(piece)
        if self._expected.startswith(piece, start):
            return None
        return self._differs(piece, start)

    def _differs(self, piece: BytesLike, start: int) -> Mismatch:
        expected = self._expected
        index = first_difference(expected, memoryview(piece), start)
        assert index is not None
        received = self._wrong = expected[:start] + bytes(piece)
        if start + index < len(expected):
            return BytesDiffer(expected, received, start + index)
        return LengthDiffers.continued(len(expected), expected, len(received), received)

    def finish(self) -> Union[Match[bytes], Mismatch]:
        expected, received = self._expected, self.received
        if received == len(expected):
            return Match(expected)
        return LengthDiffers.ended(len(expected), expected, received, expected[:received])

    def partial(self) -> bytes:
        received = self._expected[: self.received] if self._wrong is None else self._wrong
        return received[-KEPT:]


class StartsWith(Matcher[bytes]):
    """Matches a message that begins with `prefix`, whatever follows; the result is the whole message, as bytes.

    A wrong byte of the prefix is a mismatch as soon as it arrives. Raises `TypeError` if `prefix` isn't bytes, and
    `ValueError` if it is empty (use `anything` for that).
    """

    __slots__ = ("prefix",)

    def __init__(self, prefix: BytesLike) -> None:
        self.prefix = as_bytes(prefix, "StartsWith(prefix)")
        if not self.prefix:
            raise ValueError("StartsWith(prefix) needs a prefix; every message starts with b'': use `anything`")

    def __repr__(self) -> str:
        return f"StartsWith({shorten(self.prefix)})"

    def match(self, message: bytes) -> Union[Match[bytes], Mismatch]:
        """Judge a whole message."""
        if message.startswith(self.prefix):
            return Match(message)
        return self._differs(message) or self._ended(message)

    def judge(self) -> Judge[bytes]:
        """Return a judge that compares the prefix as it arrives, and keeps the whole message."""
        return _PrefixJudge(self)

    def _differs(self, received: bytes) -> Optional[Mismatch]:
        index = first_difference(self.prefix, memoryview(received)[: len(self.prefix)])
        return None if index is None else BytesDiffer(self.prefix, received, index, prefix=True)

    def _ended(self, received: bytes) -> Mismatch:
        return LengthDiffers.ended(len(self.prefix), self.prefix, len(received), received, at_least=True)


class _PrefixJudge(GatheringJudge[bytes]):
    __slots__ = ("_prefix",)

    def __init__(self, matcher: StartsWith) -> None:
        super().__init__(matcher)
        self._prefix = matcher.prefix

    def announce(self, length: int) -> Optional[Mismatch]:
        expected = len(self._prefix)
        if length >= expected:
            return None
        return LengthDiffers.announced(expected, self._prefix, length, at_least=True)

    def feed(self, piece: BytesLike) -> Optional[Mismatch]:
        start = self.received
        super().feed(piece)
        compared = memoryview(piece)[: max(len(self._prefix) - start, 0)]
        if self._prefix.startswith(compared, min(start, len(self._prefix))):
            return None
        received = self._prefix[:start] + bytes(piece)
        index = first_difference(self._prefix, compared, start)
        assert index is not None
        return BytesDiffer(self._prefix, received, start + index, prefix=True)
