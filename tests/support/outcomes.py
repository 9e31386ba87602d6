"""Tests of tests: run a test case, and see how often and with what it was reported."""

from __future__ import annotations

import contextlib
import io
import unittest
from typing import Any
from unittest import mock

from tcpclient_testing import MockTCPServerMixin, ThreadedMockTCPServerMixin
from tcpclient_testing.harness import interruption

from .loops import AsyncTestCase

__all__ = ["Outcome", "outcome_of", "quick", "threaded_outcome_of"]

#: Options for servers in inner tests: what fails by a time-out fails soon.
quick = {"timeout": 0.15, "idle_timeout": 0.2}


class Outcome:
    """How a test ended: `kinds` has one word for each report, `texts` what it said."""

    def __init__(self, result: unittest.TestResult) -> None:
        self.kinds: list[str] = []
        self.texts: list[str] = []
        for kind, reports in (("failure", result.failures), ("error", result.errors), ("skipped", result.skipped),
                              ("expected failure", result.expectedFailures)):
            for _, text in reports:
                self.kinds.append(kind)
                self.texts.append(text)
        for _ in result.unexpectedSuccesses:
            self.kinds.append("unexpected success")
            self.texts.append("")

    @property
    def text(self) -> str:
        """The texts, one after another."""
        return "\n".join(self.texts)

    def __repr__(self) -> str:
        return f"<Outcome {self.kinds}>\n{self.text}"


def outcome_of(*, patience: float = 0.1, **attributes: Any) -> Outcome:
    """Run the method `test` of a test case with the mixin and these attributes; return how it ended.

    With `timeless=True` it runs on virtual time (see `AsyncTestCase`).
    `patience` is how long (seconds) the test goes on after the script's failure: a moment for those that hang anyway.
    """
    with mock.patch.multiple(interruption, _PATIENCE=patience, _INSISTENCE=patience / 2,
                             _PATIENCE_WHILE_CLEANING=patience):
        return _outcome((MockTCPServerMixin, AsyncTestCase), {"tcpserver_options": quick, **attributes})


def threaded_outcome_of(*, base: type = unittest.TestCase, **attributes: Any) -> Outcome:
    """Run the method `test` of a blocking test case with its mixin and these attributes; return how it ended."""
    options = {"timeout": 0.2, "idle_timeout": 0.3}
    return _outcome((ThreadedMockTCPServerMixin, base), {"tcpserver_options": options, **attributes})


def _outcome(bases: tuple[type, ...], attributes: dict[str, Any]) -> Outcome:
    case: Any = type("Inner", bases, attributes)
    case.__module__ = __name__
    result = unittest.TestResult()
    with contextlib.redirect_stderr(io.StringIO()):
        case("test").run(result)
    return Outcome(result)
