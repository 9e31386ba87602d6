"""What does not hold yet: the case, the surroundings, and the fault. The table may only shrink."""

from __future__ import annotations

import unittest

from .case import Case
from .judging import Outcome, complaint

#: The fault, by the name of the case; then the surroundings.
NOT_YET: dict[str, tuple[str, tuple[str, ...]]] = {
    "tls_failure": (
        "the client's own exception is reported, in place of the verdict that says why the handshake failed",
        ("asynchronous_mixin", "async_set_up", "async_with", "start_and_stop", "start_and_clear", "tcpserver",
         "tcpserver_factory", "users_fixture", "users_start_and_stop"),
    ),
}


def check(test: unittest.TestCase, surrounding: str, case: Case, outcome: Outcome) -> None:
    """Fail if the outcome of a case is wrong; if that is known, fail if it is right."""
    wrong = complaint(case, outcome)
    if surrounding in NOT_YET.get(case.name, ("", ()))[1]:
        test.assertIsNotNone(wrong, "this holds now: remove it from the table of what does not hold yet")
    elif wrong is not None:
        test.fail(wrong)
