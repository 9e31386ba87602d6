"""Compares what came of a test with what is right."""

from __future__ import annotations

import itertools
import re
import unittest
from typing import NamedTuple, Optional

from .case import Case, Expected


class Outcome(NamedTuple):
    """What came of a test: its reports, each as text, whether it was skipped, and what was left behind."""

    reports: list[str]
    skipped: bool = False
    left: str = ""


def check(test: unittest.TestCase, case: Case, outcome: Outcome) -> None:
    """Fail `test` if the outcome of a case is wrong."""
    wrong = complaint(case, outcome)
    if wrong is not None:
        test.fail(wrong)


def complaint(case: Case, outcome: Outcome) -> Optional[str]:
    """Compare an outcome with what is right. Return what is wrong, or None."""
    expected, reports = case.expected, outcome.reports
    shown = "\n".join(["", *reports])
    if outcome.left:
        return f"left behind: {outcome.left}"
    if outcome.skipped != expected.skips:
        return f"skipped: {outcome.skipped}{shown}"
    if expected.kind in ("passes", "skips"):
        return f"it fails:{shown}" if reports else None
    wanted = [expected] if expected.following is None else [expected, expected.following]
    if len(reports) != len(wanted):
        return f"{len(reports)} reports:{shown}"
    # unittest sorts them by kind, before Python 3.11.
    for order in itertools.permutations(reports):
        complaints = [_complaint(*pair) for pair in zip(wanted, order)]
        if not any(complaints):
            return None
    return "".join(filter(None, complaints)) + shown


def _complaint(expected: Expected, report: str) -> Optional[str]:
    if expected.kind == "fails":
        first = re.search(r"ExpectationError: (.*)", report)
        if first is None or not re.search(expected.pattern, first.group(1)):
            return f"no verdict that matches {expected.pattern!r}"
    elif not re.search(expected.pattern, report):
        return f"no error that matches {expected.pattern!r}"
    elif "ExpectationError: " in report:
        return "a verdict"
    if expected.shows and not re.search(expected.shows, report):
        return f"it does not show {expected.shows!r}"
    return None
