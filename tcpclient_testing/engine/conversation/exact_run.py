"""Compares several `expect_bytes` steps in a row (a run) with the client's stream, as if they were one step.

For the client's stream, consecutive `expect_bytes` steps are one long expectation. So their bytes are joined, some
hundreds of steps at a time, and each chunk that arrives is compared once: `bytes.startswith` with an offset is a memcmp
that copies nothing. The ends of the joined pieces tell which step a byte belongs to.

    closed --open--> open at `offset` --all compared--> closed
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Optional

from tcpclient_testing.engine.matching.exact import Exactly
from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.steps.base import DONE, WAITING, Outcome, Step
from tcpclient_testing.engine.steps.messages import ExpectBytes
from tcpclient_testing.engine.wording import first_difference

if TYPE_CHECKING:
    from .context import ConversationContext

__all__ = ["ExactRun"]

# A run joins at most so many steps and bytes. That is enough to make comparing cheap compared with reading, and little
# enough to make the cost of the copy unnoticeable.
_MOST_STEPS = 512
_MOST_BYTES = 65536


class ExactRun:
    """The run of `expect_bytes` steps at a conversation's cursor.

    `joined` is the bytes of the run (None: closed), and `offset` how many of them have come. `first` is the index of
    the run's first step, and `ends` has for each step where its bytes end in `joined`.
    """

    __slots__ = ("joined", "offset", "ends", "first")

    def __init__(self) -> None:
        self.joined: Optional[bytes] = None
        self.offset = 0
        self.ends: tuple[int, ...] = ()
        self.first = 0

    @property
    def is_open(self) -> bool:
        """Whether a run has begun, and some of its bytes are still to come."""
        return self.joined is not None

    def proceed(self, conversation: ConversationContext) -> Outcome:
        """Compare the pending bytes; move the cursor past the satisfied steps, except for the last one of the run."""
        joined = self.joined
        if joined is None:
            joined = self._open(conversation)
        inbox = conversation.inbox
        pending = inbox.pending
        while pending:
            data = pending[0]
            left = len(joined) - self.offset
            if len(data) > left:
                data = data[:left]
            if not joined.startswith(data, self.offset):
                return self._differs(conversation, joined, data)
            self.offset += len(data)
            inbox.consume(len(data))
            if self.offset == len(joined):
                self.joined = None
                conversation.script.cursor.move_to(self.first + len(self.ends) - 1)
                return DONE
        if self.offset >= self.ends[0]:
            conversation.script.cursor.move_to(self.first + bisect_right(self.ends, self.offset))
        if inbox.ended:
            step = conversation.script.due
            assert isinstance(step, ExpectBytes)
            return step.ended(conversation, self.received_of(step))
        return WAITING

    def _open(self, conversation: ConversationContext) -> bytes:
        steps, first = conversation.script.steps, conversation.script.cursor.position
        step = steps[first]
        assert isinstance(step, ExpectBytes)
        self.first = first
        self.offset = 0
        if type(step) is not ExpectBytes or first + 1 == len(steps) or type(steps[first + 1]) is not ExpectBytes:
            self.ends = (len(step.data),)
            self.joined = step.data
            return step.data
        pieces = [step.data]
        size = len(step.data)
        if size < _MOST_BYTES:
            limit, other = first + _MOST_STEPS, conversation.run_limit(first)
            for later in steps[first + 1:limit if other is None else min(limit, other)]:
                if type(later) is not ExpectBytes:  # one with its own time-out isn't, either
                    break
                size += len(later.data)
                if size > _MOST_BYTES:
                    break
                pieces.append(later.data)
        self.ends = tuple(accumulate(map(len, pieces)))
        self.joined = joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return joined

    def received_of(self, step: Step[Any]) -> int:
        """Return how many bytes of `step`, the step at the cursor, have come."""
        if self.joined is None:
            return 0
        assert isinstance(step, ExpectBytes)
        return self.offset - (self.ends[step.index - self.first] - len(step.data))

    def _differs(self, conversation: ConversationContext, joined: bytes, data: memoryview) -> Mismatch:
        """Find the first byte that differs, move to its step, and describe it there."""
        low = first_difference(joined, data, self.offset) or 0
        position = bisect_right(self.ends, self.offset + low)
        conversation.script.cursor.move_to(self.first + position)
        step = conversation.script.steps[self.first + position]
        assert isinstance(step, ExpectBytes)
        start = self.ends[position] - len(step.data)
        before = joined[start:self.offset] if start < self.offset else b""
        conversation.inbox.consume(max(0, start - self.offset))
        got = before + conversation.inbox.unclaimed(len(step.data) - len(before))
        self.joined = None
        mismatch = Exactly(step.data).judge().feed(got)
        assert mismatch is not None
        return mismatch
