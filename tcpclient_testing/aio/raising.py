"""Raising an exception that has a history of its own, in a place where another one is being handled."""

from __future__ import annotations

from typing import NoReturn

from tcpclient_testing.report import ExpectationError

__all__ = ["raise_alone"]

__unittest = True


def raise_alone(error: BaseException) -> NoReturn:
    """Raise `error`: what is being handled now, mostly our own cancellation, becomes no part of what is shown with it.

    A verdict is shown without a chain. The client's or the test's own exception keeps the one that it has: that is how
    it came about.
    """
    if isinstance(error, ExpectationError):
        raise error from None
    cause, context, suppress = error.__cause__, error.__context__, error.__suppress_context__
    try:
        raise error
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress
