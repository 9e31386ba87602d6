"""Raises an exception while another one is being handled, without linking the two."""

from __future__ import annotations

from typing import NoReturn

from tcpclient_testing.report import ExpectationError

__all__ = ["raise_alone"]

__unittest = True


def raise_alone(error: BaseException) -> NoReturn:
    """Raise `error` without linking it to the exception that is being handled now, which is mostly our cancellation.

    A verdict is raised without any chain. An exception of the client or of the test keeps its own chain, which shows
    how it came about.
    """
    if isinstance(error, ExpectationError):
        raise error from None
    cause, context, suppress = error.__cause__, error.__context__, error.__suppress_context__
    try:
        raise error
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress
