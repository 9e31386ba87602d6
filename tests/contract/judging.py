"""Compares what came of a test with what is right."""

from __future__ import annotations

import re
from typing import NamedTuple, Optional

from .case import Case


class Outcome(NamedTuple):
    """What came of a test: its reports, each as text, whether it was skipped, and what was left behind."""

    reports: list[str]
    skipped: bool = False
    left: str = ""


def complaint(case: Case, outcome: Outcome) -> Optional[str]:
    """Compare an outcome with what is right. Return what is wrong, or None."""
    expected, reports = case.expected, outcome.reports
    shown = "\n".join(["", *reports])
    if outcome.left:
        return f"left behind: {outcome.left}"
    if outcome.skipped != (expected.kind == "skips"):
        return f"skipped: {outcome.skipped}{shown}"
    if expected.kind in ("passes", "skips"):
        return f"it fails:{shown}" if reports else None
    if len(reports) != 1:
        return f"{len(reports)} reports:{shown}"
    if expected.kind == "fails":
        first = re.search(r"ExpectationError: (.*)", reports[0])
        if first is None or not re.search(expected.pattern, first.group(1)):
            return f"no verdict that matches {expected.pattern!r}:{shown}"
    elif not re.search(expected.pattern, reports[0]):
        return f"no error that matches {expected.pattern!r}:{shown}"
    elif "ExpectationError: " in reports[0]:
        return f"a verdict:{shown}"
    if expected.shows and not re.search(expected.shows, reports[0]):
        return f"it does not show {expected.shows!r}:{shown}"
    return None
