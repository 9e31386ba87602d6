"""Where a step was written: the source lines that a report names.

Taking a note must cost next to nothing, since it is done for each step of each script. So an origin is a plain
tuple of code object and instruction offset; file and line are worked out only when a report asks for them. A step
written in a helper function keeps the chain of its callers as well, up to the frame that a framework entered, so
that the report can name the helper's line and the test's.
"""

from __future__ import annotations

import dis
from types import CodeType, FrameType
from typing import NamedTuple, Optional

__all__ = ["Origin", "SourceLine", "origin_of", "source_lines"]

Origin = tuple[tuple[CodeType, int], ...]

# Packages whose frames are never the test's own: above them nothing is of interest to the reader of a report.
_FRAMEWORKS = frozenset({"asyncio", "unittest", "_pytest", "pluggy", "threading", "concurrent", "runpy", "anyio",
                         "contextlib", "pytest_asyncio", "tcpclient_testing"})
_LONGEST_CHAIN = 6
_PACKAGE = "tcpclient_testing"


class SourceLine(NamedTuple):
    """One line of source code: the file's path and the line's number."""

    path: str
    line: int

    def __str__(self) -> str:
        name = self.path.replace("\\", "/").rpartition("/")[2]
        return f"{name}:{self.line}"


def origin_of(frame: FrameType) -> Origin:
    """Note where `frame` is just now, and its callers up to the framework that runs the test."""
    caller = frame.f_back
    while caller is not None and frame.f_globals.get("__package__") == _PACKAGE:
        frame, caller = caller, caller.f_back  # one of our own subclasses passed the call on
    if caller is None or _is_framework(caller):
        return ((frame.f_code, frame.f_lasti),)
    chain = [(frame.f_code, frame.f_lasti)]
    walker: Optional[FrameType] = caller
    while walker is not None and len(chain) < _LONGEST_CHAIN and not _is_framework(walker):
        chain.append((walker.f_code, walker.f_lasti))
        walker = walker.f_back
    return tuple(chain)


def _is_framework(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in _FRAMEWORKS


def source_lines(origin: Origin) -> list[SourceLine]:
    """Return the lines of an origin: first the step's own, then those that led to it."""
    return [SourceLine(code.co_filename, _line_number(code, offset)) for code, offset in origin]


def _line_number(code: CodeType, offset: int) -> int:
    line = code.co_firstlineno
    for start, number in dis.findlinestarts(code):
        if start > offset:
            break
        if number is not None:
            line = number
    return line
