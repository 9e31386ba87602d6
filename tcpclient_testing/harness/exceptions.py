"""Functions on exceptions: what led to one, whether it is an error, how to raise it alone.

- `chain_of`: what led to it, by causes, contexts, and the parts of exception groups
- `raise_alone`: raise it while another one is being handled, without linking the two
- `attach_by_chain`: show the conversation in its traceback, where exceptions have no notes
- `is_control`, `is_error`: whether a test framework raised it to control the test, whether it is an error
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Optional

if TYPE_CHECKING:
    pass

__all__ = [
    "ConversationSoFar", "attach_by_chain", "chain_of", "context_of", "is_control", "is_error", "parts_of",
    "raise_alone",
]

__unittest = True



def parts_of(exc: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in the groups inside it; for any other exception, just itself.

    A `TaskGroup` raises groups. Python has them from 3.11 on, the package ``exceptiongroup`` for older versions.
    """
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(exc).__mro__):
        return [exc]
    group: Any = exc
    return [part for each in group.exceptions for part in parts_of(each)]


def chain_of(exc: BaseException) -> list[BaseException]:
    """Return an exception, the exceptions that led to it (cause or context), and the parts of those that are groups."""
    chain: list[BaseException] = []
    found = [exc]
    while found:
        each = found.pop()
        if not any(each is known for known in chain):
            chain.append(each)
            before = context_of(each) if each.__cause__ is None else each.__cause__
            found += [part for part in parts_of(each) if part is not each]
            found += [] if before is None else [before]
    return chain


def context_of(exc: BaseException) -> Optional[BaseException]:
    """Return the exception that was being handled when `exc` was raised; None if there was none."""
    before = exc.__context__
    if before is None:
        return None
    from .in_flight import led_to
    return before if led_to(before, exc) else None


def raise_alone(error: BaseException) -> NoReturn:
    """Raise `error` without linking it to the exception that is being handled now, which is mostly our cancellation.

    A verdict is raised without any chain. An exception of the client or of the test keeps its own chain, which shows
    how it came about.
    """
    from tcpclient_testing.report.report import ExpectationError  # here, since only a failure needs it
    if isinstance(error, ExpectationError):
        raise error from None
    cause, context, suppress = error.__cause__, error.__context__, error.__suppress_context__
    try:
        raise error
    finally:
        error.__cause__, error.__context__, error.__suppress_context__ = cause, context, suppress


def is_control(exc: BaseException) -> bool:
    """Whether a test framework raises this to control the test: a skip, or unittest's `_ShouldStop` after a subtest."""
    return type(exc).__name__ in ("SkipTest", "Skipped", "_ShouldStop")


def is_verdict(exc: Optional[BaseException]) -> bool:
    """Whether `exc` is an `ExpectationError`; this doesn't import its class, which only failures need."""
    return hasattr(getattr(exc, "report", None), "given_on_leaving")


def is_error(exc: BaseException) -> bool:
    """Whether this is an error. What pytest.fail() raises is not an `Exception`, but it counts as an error."""
    return isinstance(exc, Exception) or type(exc).__name__ == "Failed"


class ConversationSoFar(Exception):
    """The conversation until a client raised an exception of its own. It is shown in a traceback, and never raised."""


ConversationSoFar.__module__ = "tcpclient_testing"


def attach_by_chain(exc: BaseException, told: ConversationSoFar) -> None:
    """Let tracebacks of `exc` show `told`: at the far end of the chain, so that nothing of the chain is lost.

    It becomes a context if possible: "During handling of the above exception, another exception occurred" is closer to
    the truth than "the direct cause".
    """
    last = shown_chain(exc)[-1]
    if last.__context__ is None:
        last.__context__, last.__suppress_context__ = told, False
    else:  # its context was suppressed, and must stay so
        last.__cause__ = told


def shown_chain(exc: BaseException) -> list[BaseException]:
    """Return an exception and those that its traceback shows: each one's cause, or else its unsuppressed context."""
    chain: list[BaseException] = []
    following: Optional[BaseException] = exc
    while following is not None and not any(following is each for each in chain):
        chain.append(following)
        context = None if following.__suppress_context__ else following.__context__
        following = context if following.__cause__ is None else following.__cause__
    return chain
