"""Each case of the contract in each surrounding that needs only the standard library: one test for each pair."""

from __future__ import annotations

import contextlib
import unittest
from typing import Any

from tests.support.moments import shortened

from .cases import CASES
from .choice import is_chosen
from .judging import check, complaint
from .surroundings import SURROUNDINGS, Surrounding


def _test(name: str, surrounding: Surrounding, case: str) -> Any:
    def test(self: unittest.TestCase) -> None:
        with shortened() if CASES[case].waits else contextlib.nullcontext():
            outcome = surrounding.run(CASES[case])
        check(self, CASES[case], outcome)
    test.__doc__ = f"The case {case}: {CASES[case].expected.kind} {CASES[case].expected.pattern}."
    return test


def _tests(name: str, surrounding: Surrounding) -> type[unittest.TestCase]:
    tests = {f"test_{case}": _test(name, surrounding, case) for case in CASES
             if surrounding.has(CASES[case]) and is_chosen(name, CASES[case])}
    title = "".join(word.capitalize() for word in name.split("_"))
    return type(f"{title}Tests", (unittest.TestCase,), {"__doc__": surrounding.run.__doc__, "__module__": __name__,
                                                       **tests})


for _name, _surrounding in SURROUNDINGS.items():
    _made = _tests(_name, _surrounding)
    globals()[_made.__name__] = _made
del _made


class TableTests(unittest.TestCase):
    """The tables themselves."""

    def test_outcomes_are_told_apart(self) -> None:
        """A wrong outcome is a complaint: the judgement of these tests can fail."""
        from .judging import Outcome
        right = {"passes": Outcome([]), "skips": Outcome([], True),
                 "fails": Outcome(["tcpclient_testing.ExpectationError: expected b'PING', got b'PUNG'"]),
                 "raises": Outcome(["AssertionError: the test's own\nthe conversation"])}
        cases = [CASES["sound"], CASES["skips"], CASES["wrong_byte"], CASES["asserts"]]
        for case in cases:
            for kind, outcome in right.items():
                with self.subTest(case=case.name, outcome=kind):
                    self.assertEqual(complaint(case, outcome) is None, kind == case.expected.kind)
            twice = right[case.expected.kind].reports * 2 or ["twice"]
            self.assertIsNotNone(complaint(case, Outcome(twice)), case.name)
            self.assertIsNotNone(complaint(case, right[case.expected.kind]._replace(left="a task")), case.name)


if __name__ == "__main__":
    unittest.main()
