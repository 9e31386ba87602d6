"""The matcher that accepts any message, counts its bytes, and keeps none of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .base import Judge, Match, Matcher

if TYPE_CHECKING:
    from tcpclient_testing.engine.arguments import BytesLike

__all__ = ["counted_only"]

__unittest = True


class _Counting(Matcher[int]):
    """Any message; the result is the number of its bytes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "anything, counted only"

    def match(self, message: bytes) -> Match[int]:
        """Count a whole message."""
        return Match(len(message))

    def judge(self) -> Judge[int]:
        """Return a judge that keeps no bytes."""
        return _CountingJudge()


class _CountingJudge(Judge[int]):
    __slots__ = ()

    def feed(self, piece: BytesLike) -> None:
        self.received += len(piece)

    def finish(self) -> Match[int]:
        return Match(self.received)

    def partial(self) -> bytes:
        return b""


counted_only: Final = _Counting()
