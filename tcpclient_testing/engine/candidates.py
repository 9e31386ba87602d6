"""Several messages that may come next, of which the client's bytes choose one.

The rule. The stream is judged as if it came byte by byte. At each boundary between messages there are candidates: the
messages that are allowed beside the script, then the open expectations in the order in which they were written. Each
reads the same bytes, from the boundary on. The one that completes, and matches, at the smallest number of bytes wins;
of several that do so at the same byte, the first. Its bytes are taken from the stream, and behind them is the next
boundary. A candidate that can't match any more is out; when all are out, that is the mismatch. So which candidate wins,
with which result, and whether any does, are functions of the bytes alone, never of how they were divided.

The cost is linear in the number of bytes: candidates are fed in windows that double in size from the boundary on, so
that the others have read little more than twice what the winner has.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from .judging import Match
from .message import Message
from .mismatches import Mismatch
from .wording import counted, shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["KEPT", "Candidates", "NoneMatches", "Reading", "none_matches"]

__unittest = True

_NOTHING = memoryview(b"")
_WINDOW = 64
#: So much of a message stays pending beside an allow() that is used up, so that a report can tell that.
KEPT = 4096


class Reading:
    """One candidate's reading of the bytes since the boundary.

    `source` is whatever the message belongs to; `mismatch` says why it is out; `result` is the match that ended at byte
    `end`.
    """

    __slots__ = ("source", "message", "mismatch", "result", "end")

    def __init__(self, source: Any, message: Message) -> None:
        self.source = source
        self.message = message
        self.mismatch: Optional[Mismatch] = None
        self.result: Optional[Match[Any]] = None
        self.end = 0

    def feed(self, data: memoryview, seen: int) -> None:
        """Read on in `data`, which stands `seen` bytes behind the boundary."""
        while True:
            used, outcome = self.message.feed(data)
            if isinstance(outcome, Mismatch):
                self.mismatch = outcome
                return
            if outcome is not None:
                self.result = outcome
                self.end = seen + used
                return
            seen += used
            data = data[used:]
            if not len(data):
                return


class Candidates:
    """The candidates at one boundary; `sources` are what they belong to, in order.

    Whoever asks for the winner takes its bytes from `pending`, and makes other candidates for the next boundary.
    """

    __slots__ = ("sources", "readings", "seen", "committed", "_started", "_chunk", "_offset")

    def __init__(self, readings: Sequence[Reading]) -> None:
        self.sources = [reading.source for reading in readings]
        self.readings = readings
        self.seen = 0
        self.committed = False
        self._started = False
        self._chunk = 0
        self._offset = 0

    def run(self, pending: deque[memoryview]) -> Optional[Reading]:
        """Read what is there; return the reading that has won, if one has."""
        if not self._started:
            self._started = True
            winner = self._feed(_NOTHING)  # a message of no bytes is complete
            if winner is not None:
                return winner
        while self._chunk < len(pending):
            chunk = pending[self._chunk]
            if self._offset == len(chunk):
                self._chunk += 1
                self._offset = 0
                continue
            window = chunk[self._offset:self._offset + max(_WINDOW, self.seen)]
            winner = self._feed(window)
            if winner is not None:
                return winner
            self._offset += len(window)
            self.seen += len(window)
        return None

    def _feed(self, window: memoryview) -> Optional[Reading]:
        """Let each candidate read the window, as far as the best of those before it needed."""
        best: Optional[Reading] = None
        for reading in self.readings:
            if reading.mismatch is not None:
                continue
            reading.feed(window if best is None else window[:best.end - self.seen], self.seen)
            if reading.result is not None and (best is None or reading.end < best.end):
                best = reading
        return best

    def alive(self) -> list[Reading]:
        """Those that may still match."""
        return [reading for reading in self.readings if reading.mismatch is None]

    def commit(self) -> int:
        """Only one candidate is left: return how many of the pending bytes it has read, which are to be taken now."""
        self.committed = True
        self._chunk = self._offset = 0
        count, self.seen = self.seen, 0
        return count


def none_matches(candidates: Candidates, received: bytes) -> NoneMatches:
    """Say that every candidate is out: `received` are the bytes since the boundary, as many as came."""
    expected = [reading for reading in candidates.readings if reading.source.is_expectation]
    others = [reading for reading in candidates.readings if not reading.source.is_expectation]
    if len(expected) == 1 and expected[0].mismatch is not None:
        first = expected[0].mismatch
        summary, details, offset = first.summary, list(first.details), first.offset
    else:
        summary = (f"expected one of {counted(len(expected), 'message')} in any order, got {shorten(received)}, with "
                   "which none of them begins")
        details, offset = [], 0
        for reading in expected:
            details.append(f"{reading.source} at {reading.source.lines()[0]}")
            details.append(f"  {reading.mismatch.summary if reading.mismatch else ''}")
    for reading in others:
        details.append(f"nor is it what {reading.source} at {reading.source.lines()[0]} lets through")
        details.append(f"  {reading.mismatch.summary if reading.mismatch else ''}")
    raised = (getattr(reading.mismatch, "exception", None) for reading in [*expected, *others])
    return NoneMatches(summary, tuple(details), offset or 0, next(filter(None, raised), None))


class NoneMatches(Mismatch):
    """Every candidate is out; `exception` is what the first of them raised that is wrong itself, if one is.

    `steps` are those that a report marks, where the failure belongs to none of them alone.
    """

    __slots__ = ("exception", "steps")

    def __init__(self, summary: str, details: tuple[str, ...], offset: Optional[int],
                 exception: Optional[BaseException], steps: Sequence[Any] = ()) -> None:
        super().__init__(summary, details=details, offset=offset)
        self.exception = exception
        self.steps = steps
