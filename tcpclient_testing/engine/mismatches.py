"""Mismatches: values that say how what happened differs from what a script expects.

Judging is not raising. A matcher, a framing or a conversation returns a mismatch; the report words it, and only
the edge of the library raises it.
"""

from __future__ import annotations

from typing import Optional

__all__ = ["Mismatch"]


class Mismatch:
    """How a message, or the behaviour of a client, differs from what was expected.

    `summary` is the fragment that follows "step 2 of 4 (test_x.py:31): " in the first line of a report; lower
    case, no full stop, one line. `details` are further lines for the body of the report (a hexdump of both sides,
    a field by field comparison); they may be empty. `offset` is the number of the first byte, counted from 0 in
    the message, that can't be right, or None where no byte is at fault.
    """

    __slots__ = ("summary", "details", "offset")

    def __init__(self, summary: str, *, details: tuple[str, ...] = (), offset: Optional[int] = None) -> None:
        self.summary = summary
        self.details = details
        self.offset = offset

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self.summary}>"
