"""The servers that a unittest case without a mixin opens in its set-up, and leaves in its clean-ups.

    asyncSetUp: enterAsyncContext(server) -> the test method, which is the body -> clean-up: the server is left

While the set-up runs, the parts of the test that follow are replaced by ones that know when they end, as a mixin does
from the beginning. What the part that runs already raises is looked at where unittest records it: if it is a
consequence, the verdict is recorded in its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import Iterator
from typing import Any, Callable, Optional

from tcpclient_testing.harness.exceptions import raise_alone
from tcpclient_testing.harness.run import run, run_blocking
from tcpclient_testing.harness.servers import BODY, TEAR_DOWN, ServersOfTest, without_waiting
from tcpclient_testing.harness.tracebacks import FRAMES_HIDDEN, cut_to_test

__all__ = ["ServersOfCase", "part_of_test", "servers_of_case"]

__unittest = True

__tracebackhide__ = True

_NAME = "_tcpserver_owner"


def servers_of_case(case: Any) -> ServersOfCase:
    """Return the servers of a test case that runs now. Each run has its own."""
    servers: Optional[ServersOfCase] = case.__dict__.get(_NAME)
    if servers is None or servers.watched is not case._outcome:
        if servers is not None:
            servers.restore()
        servers = case.__dict__[_NAME] = ServersOfCase(case)
    return servers


def part_of_test(servers: ServersOfTest, part: str, function: Callable[..., Any], *,
                 awaited: bool) -> Callable[..., Any]:
    """Return a function that runs one of the test's own as a part of the test; unittest awaits it if `awaited`."""
    if awaited:
        async def in_loop(*args: Any, **kwargs: Any) -> Any:
            return await run(servers, part, function, *args, **kwargs)
        return in_loop
    return lambda *args, **kwargs: run_blocking(servers, part, function, *args, **kwargs)


class ServersOfCase(ServersOfTest):
    """The servers of one run of a test case. `watched` is what unittest knows about that run."""

    def __init__(self, case: Any) -> None:
        super().__init__()
        self._case = case
        self._replaced = False  # whether a part runs, or has run, that is one of ours
        self.watched: Any = case._outcome
        self._watch_reports()
        case._cleanups.insert(0, (self.let_go, (), {}))  # it runs last
        subtest = case.subTest
        self._own = dict(case.__dict__)
        test_method, tear_down, clean_up = case._callTestMethod, case._callTearDown, case._callCleanup
        case.__dict__.update({
            "subTest": lambda *args, **params: self._in_subtest(subtest(*args, **params)),
            "_callTestMethod": lambda method: test_method(self._part(BODY, method)),
            "_callTearDown": lambda: self._tear_down(tear_down),
            "_callCleanup": lambda function, *args, **kwargs: clean_up(
                self._part(TEAR_DOWN, function), *args, **kwargs),
        })

    def _part(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self._replaced = True
        awaited = inspect.iscoroutinefunction(function) and hasattr(self._case, "addAsyncCleanup")
        return part_of_test(self, part, function, awaited=awaited)

    def restore(self) -> None:
        """Remove all that this has put in place of the parts of the test."""
        for name in ("subTest", "_callTestMethod", "_callTearDown", "_callCleanup", "asyncTearDown", "tearDown"):
            self._case.__dict__.pop(name, None)
            if name in self._own:
                self._case.__dict__[name] = self._own[name]

    @contextlib.contextmanager
    def _in_subtest(self, subtest: contextlib.AbstractContextManager[Any]) -> Iterator[None]:
        reports = getattr(self.watched, "result_supports_subtests", False)
        with subtest, FRAMES_HIDDEN, self.subtest() if reports else contextlib.nullcontext():
            yield

    def _tear_down(self, call: Callable[[], Any]) -> None:
        for name in "asyncTearDown", "tearDown":
            if hasattr(self._case, name):
                self._case.__dict__[name] = self._part(TEAR_DOWN, getattr(self._case, name))
        call()

    # The part that has begun before the first server was opened.

    def _watch_reports(self) -> None:
        """Look at each exception that unittest records for this run."""
        outcome = self.watched
        if hasattr(outcome, "errors"):  # Python 3.9 and 3.10
            vars(outcome).update(errors=_Errors(outcome.errors, self._reported))
        else:
            vars(outcome).update(result=_Result(outcome.result, self._reported))

    def _reported(self, exc_info: Any) -> Any:
        """unittest records an exception: return what it is to record. Its traceback has the test's own lines."""
        # Imported here, since only a failure needs it.
        from tcpclient_testing.report.report import ExpectationError
        exc = exc_info[1]
        live = [] if self._replaced else self.live()
        interrupted = isinstance(exc, asyncio.CancelledError) and any(server.interrupts_body for server in live)
        instead = self._concluded(exc, [
            (server, without_waiting(server.conclude(exc, interrupted=interrupted, blocking=True)))
            for server in live]) if live else None
        error = exc if instead is None else instead
        cut_to_test(error, verdict=isinstance(error, ExpectationError))
        if error.__traceback__ is None:
            with contextlib.suppress(type(error)):
                raise_alone(error)  # pytest needs a traceback; unittest removes what is not the test's
        return type(error), error, error.__traceback__


class _Errors(list[Any]):
    """The errors of a run, in which unittest of Python 3.9 and 3.10 collects tuples of a test and an exception."""

    def __init__(self, errors: list[Any], reported: Callable[[Any], Any]) -> None:
        super().__init__(errors)
        self._reported = reported

    def append(self, entry: Any) -> None:
        test, exc_info = entry
        super().append((test, exc_info if exc_info is None else self._reported(exc_info)))


class _Result:
    """The result of a run, to which unittest of Python 3.11 and later tells each exception at once."""

    def __init__(self, result: Any, reported: Callable[[Any], Any]) -> None:
        self._wrapped = result
        self._reported = reported

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)

    def addError(self, test: Any, exc_info: Any) -> None:  # noqa: N802 - unittest's name
        self._tell(test, exc_info)

    def addFailure(self, test: Any, exc_info: Any) -> None:  # noqa: N802 - unittest's name
        self._tell(test, exc_info)

    def _tell(self, test: Any, exc_info: Any) -> None:
        exc_info = self._reported(exc_info)
        failed = issubclass(exc_info[0], test.failureException)
        (self._wrapped.addFailure if failed else self._wrapped.addError)(test, exc_info)
