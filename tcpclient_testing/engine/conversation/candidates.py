"""Chooses, by the client's bytes, one of several messages that may come next.

The rule. The stream is judged as if it came byte by byte. At each boundary between messages:

- The candidates are the messages of `allow()`, then the open expectations in the order in which they were written.
- Each candidate reads the same bytes, from the boundary on.
- The candidate that is complete and matches after the fewest bytes wins. If several do so at the same byte, the first
  of them wins.
- The bytes of the winner are consumed. After them is the next boundary.
- A candidate that can't match any more is out. If all are out, that is the mismatch.

So the bytes alone decide which candidate wins, with which result, and whether any does. How the bytes were divided
makes no difference.

The cost is linear in the number of bytes. Candidates are fed in windows that double in size from the boundary on, so
the others read little more than twice as much as the winner.

If a message comes more often than an `allow(times=...)` lets through, the mismatch alone does not show why it is no
longer allowed. So `used_up` names that `allow()` in the report.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.matching.base import Match
from tcpclient_testing.engine.matching.reading import Message
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.wording import brief, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tcpclient_testing.engine.connection.streams import Inbox

    from .rules import Permit

__all__ = ["KEPT", "Candidates", "NoneMatches", "Reading", "none_matches", "used_up"]

__unittest = True

_NOTHING = memoryview(b"")

_WINDOW = 64

#: How many bytes of a message stay pending at least if an allow() is used up, so that a report can say so.
KEPT = 4096


class Reading:
    """One candidate's reading of the bytes since the boundary.

    - `source`: what the message belongs to, an expectation or an `allow()`
    - `mismatch`: why the candidate is out; None while it may still match
    - `result`, `end`: the match, and the number of bytes after which it was complete
    """

    __slots__ = ("source", "message", "mismatch", "result", "end")

    def __init__(self, source: Any, message: Message) -> None:
        self.source = source
        self.message = message
        self.mismatch: Optional[Mismatch] = None
        self.result: Optional[Match[Any]] = None
        self.end = 0

    def feed(self, data: memoryview, seen: int) -> None:
        """Read `data`, which begins `seen` bytes after the boundary."""
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
    """The candidates at one boundary. `sources` are what they belong to, in order; `seen` is the number of bytes read.

    The caller of `run` consumes the winner's bytes from `pending`, and makes new candidates for the next boundary.
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
        """Read the bytes of `pending` that are new; return the reading that has won, or None."""
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
        """Let each candidate read the window, but no further than the best candidate before it needed."""
        best: Optional[Reading] = None
        for reading in self.readings:
            if reading.mismatch is not None:
                continue
            reading.feed(window if best is None else window[:best.end - self.seen], self.seen)
            if reading.result is not None and (best is None or reading.end < best.end):
                best = reading
        return best

    def alive(self) -> list[Reading]:
        """Return the readings that may still match."""
        return [reading for reading in self.readings if reading.mismatch is None]

    def commit(self) -> int:
        """Keep to the only candidate left. Return how many pending bytes it has read: the caller consumes them now."""
        self.committed = True
        self._chunk = self._offset = 0
        count, self.seen = self.seen, 0
        return count


def none_matches(candidates: Candidates, received: bytes) -> NoneMatches:
    """Return the mismatch of candidates that are all out. `received` are the bytes since the boundary, for the text."""
    expected = [reading for reading in candidates.readings if reading.source.is_expectation]
    others = [reading for reading in candidates.readings if not reading.source.is_expectation]
    if len(expected) == 1 and expected[0].mismatch is not None:
        first = expected[0].mismatch
        summary, details, offset = first.summary, list(first.details), first.offset
        wanted, got = first.expected, first.received
    else:
        summary = f"got {brief(received)}, with which none of {counted(len(expected), 'message')} in any order begins"
        details, offset = [], 0
        wanted, got = tuple(reading.source for reading in expected), received
        for reading in expected:
            details.append(f"{reading.source}{reading.source.whereabouts()} at {reading.source.lines()[0]}")
            details.append(f"  {reading.mismatch.summary if reading.mismatch else ''}")
    for reading in others:
        details.append(f"nor is it what {reading.source} at {reading.source.lines()[0]} lets through")
        details.append(f"  {reading.mismatch.summary if reading.mismatch else ''}")
    raised = (getattr(reading.mismatch, "exception", None) for reading in [*expected, *others])
    mismatch = NoneMatches(summary, tuple(details), offset or 0, next(filter(None, raised), None),
                           expected=wanted, received=got)
    if len(expected) == 1:
        expected[0].source.placed(mismatch)
    return mismatch


class NoneMatches(Mismatch):
    """The mismatch if every candidate is out. `expected` is what the only one of them expected, or all their steps.

    `exception` is the first exception that the test's own code raised in one of them; None if none raised. `steps` are
    the steps that a report marks if the failure belongs to more than one.
    """

    __slots__ = ("exception", "steps")

    def __init__(self, summary: str, details: tuple[str, ...], offset: Optional[int],
                 exception: Optional[BaseException], steps: Sequence[Any] = (), *,
                 expected: object = None, received: object = None) -> None:
        super().__init__(summary, details=details, expected=expected, received=received, offset=offset)
        self.exception = exception
        self.steps = steps


def used_up(permits: Iterable[Permit], inbox: Inbox) -> str:
    """Return the end of a mismatch's text: which used-up `allow()` would have matched the pending bytes.

    Returns "" if none would. The beginning of such a message is enough, because a wrong byte is reported as soon as it
    arrives.
    """
    spent = [permit for permit in permits if permit.left is not None and not permit.left]
    if not spent or not inbox.pending:
        return ""
    candidates = Candidates([Reading(permit, permit.message(None)) for permit in spent])
    candidates.run(inbox.pending)
    possible = candidates.alive()
    return f"; {possible[0].source} at {possible[0].source.lines()[0]} is used up" if possible else ""
