"""Turns an exception into one line of text, for the first line of a report."""

from __future__ import annotations

import os
import sysconfig

from tcpclient_testing.engine.wording import text_of

__all__ = ["summary"]

__unittest = True

# Longest text of an exception (characters).
_LONGEST = 80


def summary(exc: BaseException) -> str:
    """Return an exception in one line, with the line that raised it. A group of one stands for that one."""
    parts = getattr(exc, "exceptions", None)
    if isinstance(parts, tuple) and len(parts) == 1 and isinstance(parts[0], BaseException):
        return summary(parts[0])
    text = " ".join(text_of(exc).split())
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST - 3]}..."
    place = _place_of(exc)
    return f"{type(exc).__name__}{': ' if text else ''}{text}{f' ({place})' if place else ''}"


def _place_of(exc: BaseException) -> str:
    """Return the line that raised `exc`, as ``file.py:12``: the last one that is not in a library of Python's own."""
    library = sysconfig.get_paths()["stdlib"]
    place = ""
    entry = exc.__traceback__
    while entry is not None:
        path = entry.tb_frame.f_code.co_filename
        if not (place and (path.startswith((library, "<")) or "site-packages" in path)):
            place = f"{os.path.basename(path)}:{entry.tb_lineno}"
        entry = entry.tb_next
    return place
