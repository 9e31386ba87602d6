"""File names and line numbers of steps, as reports show them; imported when the first report needs them."""

from __future__ import annotations

import dis
from types import CodeType
from typing import NamedTuple

from .origin import Origin

__all__ = ["SourceLine", "source_lines"]

__unittest = True


class SourceLine(NamedTuple):
    """One line of source code: the file's path and the line's number."""

    path: str
    line: int

    def __str__(self) -> str:
        name = self.path.replace("\\", "/").rpartition("/")[2]
        return f"{name}:{self.line}"


def source_lines(origin: Origin) -> list[SourceLine]:
    """Return the lines of an origin: first the step's own line, then those of its callers."""
    return [SourceLine(code.co_filename, _line_number(code, offset)) for code, offset in origin]


def _line_number(code: CodeType, offset: int) -> int:
    line = code.co_firstlineno
    for start, number in dis.findlinestarts(code):
        if start > offset:
            break
        if number is not None:
            line = number
    return line
