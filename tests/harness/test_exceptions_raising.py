"""Exceptions that are raised where another one is being handled."""

from __future__ import annotations

import unittest

from tcpclient_testing.engine.mismatches import Mismatch
from tcpclient_testing.engine.session.session import Failure
from tcpclient_testing.harness.exceptions import raise_alone
from tcpclient_testing.report import ExpectationError, Report
from tcpclient_testing.transcript.entries import Transcript


def raised_from(error: BaseException) -> BaseException:
    """Raise `error` while something else is being handled; return what arrives."""
    try:
        try:
            raise LookupError("something else")
        except LookupError:
            raise_alone(error)
    except BaseException as arrived:
        return arrived


class RaiseAloneTests(unittest.TestCase):
    def test_exception_keeps_its_own_chain(self) -> None:
        """Its cause, its context, and whether that is suppressed, are what they were."""
        for cause, context, suppress in ((KeyError("a"), None, True), (None, KeyError("b"), False),
                                         (None, KeyError("c"), True), (None, None, False)):
            error = ValueError("the client's")
            error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress
            with self.subTest(cause=cause, context=context, suppress=suppress):
                self.assertIs(raised_from(error), error)
                self.assertEqual((error.__cause__, error.__context__, error.__suppress_context__),
                                 (cause, context, suppress))

    def test_verdict_has_no_chain(self) -> None:
        """What an ExpectationError came of stands in its report."""
        failure = Failure(None, None, Mismatch("wrong"), 0.0)
        error = raised_from(ExpectationError(Report(failure, Transcript(0.0, 0), "wrong", [])))
        self.assertIsInstance(error, ExpectationError)
        self.assertEqual((error.__cause__, error.__suppress_context__), (None, True))


if __name__ == "__main__":
    unittest.main()
