"""The pytest plugin: a test fails if the script of its server was not met. pytest loads it by its entry point.

    fixtures -> test function (the body) -> the verdict -> tear-down of fixtures -> what only tear-down can show

- The test function is wrapped while it is called, so that the verdict is in the test's own report.
- A fixture that was set up after the server may still close the client in its tear-down, for example. Then what is
  undecided when the test function ends is checked after that tear-down.
- A verdict that a subtest has reported is not reported again.
- The fixtures and options are in this module too, since pytest looks for them here.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Generator
from types import FunctionType, ModuleType
from typing import Any, Optional

import pytest

from tcpclient_testing.harness.adopting.owners import opening_for
from tcpclient_testing.harness.exceptions import parts_of, raise_alone
from tcpclient_testing.harness.in_flight import carried_by
from tcpclient_testing.harness.run import show_blocks_in
from tcpclient_testing.harness.tracebacks import hide_our_frames
from tcpclient_testing.report.report import ExpectationError
from tcpclient_testing.virtual_time.policies import current_policy, virtual_loops_of

from .async_fixtures import interruptible_fixture
from .fixtures import (
    FIXTURES,
    SERVERS,
    servers_of,
)
from .leaving import leaves_at_once
from .loops import clock_of_fixture
from .options import wants_virtual_time
from .servers import ServersOfFixtures, ServersOfWiderFixture
from .tracebacks import cut_to_script

__all__ = [
    "pytest_fixture_setup", "pytest_report_teststatus", "pytest_runtest_call", "pytest_runtest_makereport",
    "pytest_runtest_setup", "pytest_runtest_teardown",
]

__unittest = True

__tracebackhide__ = True

# Fixtures of these packages close no client.
_NO_CLIENTS = frozenset({"_pytest", "pytest_asyncio", "anyio", "pytest_mock", "tcpclient_testing", "xdist"})


# The test.

@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any],
                         request: pytest.FixtureRequest) -> Generator[None, Any, None]:
    """Record the fixtures that are torn down before the server: they may still close the client.

    Also give a test that asks for virtual time its loop, and make asynchronous fixtures interruptible.
    """
    function = inspect.unwrap(fixturedef.func)  # get it now: plugins for asynchronous tests replace it during set-up
    servers = _servers_for(fixturedef, request, function)
    used, adopted = servers is not None and servers.in_use, 0 if servers is None else servers.adopted
    with contextlib.ExitStack() as stack:
        stack.enter_context(clock_of_fixture(request, fixturedef.argname, function))
        if servers is not None:
            if used or _knows_us(function):
                stack.enter_context(interruptible_fixture(fixturedef, request, servers))
            stack.enter_context(opening_for(servers))
        yield
    if servers is None or fixturedef.scope != "function" or not _is_users(fixturedef, function):
        return
    opens = servers.adopted > adopted
    if not leaves_at_once(function) if opens else used and _may_close_clients(function):
        servers.add_later(function.__code__)
    test = inspect.unwrap(getattr(request.node, "obj", function))
    if opens or (_may_close_clients(function) and (_knows_us(function) or _knows_us(test))):
        servers.expect_servers()  # the test function may open servers, too, and let this fixture leave them


def _servers_for(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest,
                 function: Any) -> Optional[ServersOfFixtures]:
    """Return to which servers those belong that this fixture opens.

    They are the test's if the fixture is set up for one test. A fixture that serves several tests has servers of its
    own: it can be interrupted, too, but no test is.
    """
    if fixturedef.scope != "function":
        return ServersOfWiderFixture() if _is_users(fixturedef, function) else None
    users = _is_users(fixturedef, function)
    return servers_of(request.node) if users else request.node.stash.get(SERVERS, None)


def _is_users(fixturedef: pytest.FixtureDef[Any], function: Any) -> bool:
    """Whether a fixture is the user's, or a library's that may know of clients and servers."""
    if not hasattr(function, "__code__"):
        return False
    # In pytest's fixtures with these names, the user's setup_method and setup_function are called.
    return getattr(function, "__module__", "").partition(".")[0] not in _NO_CLIENTS or \
        fixturedef.argname.startswith("_xunit_setup_")


def _knows_us(function: Any) -> bool:
    """Whether the module of a function has imported something from this package: it may open servers."""
    for each in list(getattr(function, "__globals__", {}).values()):
        kind = type(each)  # isinstance() would ask proxies for what they stand for
        name = each.__name__ if kind is ModuleType else \
            each.__module__ if kind is FunctionType or issubclass(kind, type) else ""
        if str(name).partition(".")[0] == "tcpclient_testing":
            return True
    return False


def _may_close_clients(function: Any) -> bool:
    names = function.__code__.co_varnames[:function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) or "request" in names


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, None]:
    """If a script has failed while fixtures were set up, report that as the test's failure."""
    if SERVERS in item.stash:
        del item.stash[SERVERS]  # of an earlier run: the test is run again, and begins with nothing
    outcome = yield
    servers = item.stash.get(SERVERS, None)
    if servers is not None and outcome.excinfo is not None:
        verdict = servers.verdict_instead_of(outcome.excinfo[1])
        if verdict is not None:
            _force_exception(outcome, verdict)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Wrap the test function, so that the verdict is the test's own failure."""
    with virtual_loops_of(current_policy()) if wants_virtual_time(item) else contextlib.nullcontext():
        yield from _judged_call(item)


def _judged_call(item: pytest.Item) -> Generator[None, Any, None]:
    function = getattr(item, "obj", None)
    names = getattr(item, "fixturenames", ())
    ours = "request" in names or any(name in names for name in FIXTURES)
    users = SERVERS in item.stash and item.stash[SERVERS].expected and isinstance(item, pytest.Function)
    if function is None or not (ours or users):
        outcome = yield
        if outcome.excinfo is not None:
            error = carried_by(outcome.excinfo[1])
            show_blocks_in(error)
            if error is not outcome.excinfo[1]:
                _force_exception(outcome, error)
        return
    servers = servers_of(item)
    if "request" in getattr(getattr(inspect.unwrap(function), "__code__", None), "co_varnames", ()):
        servers.add_later(None)  # the test may request more fixtures, or add finalizers
    item.obj = servers.wrap(function)  # type: ignore[attr-defined]
    try:
        # What a unittest case opens in its set-up is found as under unittest.
        of_unittest = hasattr(getattr(item, "cls", None), "_callTestMethod")
        with servers.call(), contextlib.nullcontext() if of_unittest else opening_for(servers):
            outcome = yield
            if outcome.excinfo is not None:
                error = carried_by(outcome.excinfo[1])
                stopped = servers.stopped(error)
                if stopped is not None and stopped is not error:
                    error = pytest.fail.Exception(str(stopped), pytrace=False)
                if error is not outcome.excinfo[1]:
                    _force_exception(outcome, error)
    finally:
        item.obj = function  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, None]:
    """Drop what fixtures raise in their tear-down because the script has failed: the verdict was reported already.

    After Ctrl-C or SystemExit in a fixture's tear-down, pytest leaves out the other fixtures: close their servers here.
    """
    outcome = yield
    servers = item.stash.get(SERVERS, None)
    if servers is not None:
        if outcome.excinfo is not None and isinstance(outcome.excinfo[1], (KeyboardInterrupt, SystemExit)):
            servers.abandon_all()
        servers.torn_down()
        if outcome.excinfo is not None and servers.explains(outcome.excinfo[1]):
            outcome.force_result(None)


def _force_exception(outcome: Any, exception: BaseException) -> None:
    if hasattr(outcome, "force_exception"):
        outcome.force_exception(exception)
    else:  # pluggy before 1.1
        outcome._result, outcome._excinfo = None, (type(exception), exception, exception.__traceback__)


# Reports.

def _replace_by_verdict(call: pytest.CallInfo[None], servers: ServersOfFixtures) -> None:
    """If a subtest (pytest 9; pytest-subtests) failed because a script did, let it report the verdict, once only."""
    assert call.excinfo is not None
    exc = call.excinfo.value
    told = servers.reported_by_subtest(exc)
    if told is None:
        call.excinfo = None
    elif told is not exc:
        try:
            raise_alone(told)
        except BaseException:  # noqa: BLE001 - it becomes a report
            call.excinfo = pytest.ExceptionInfo.from_current()


def _note_as_told(error: BaseException) -> None:
    """A test is reported with `error`: no server raises that verdict again when a fixture leaves or clears it."""
    for part in parts_of(error):
        if isinstance(part, ExpectationError):
            part.report.tell()


def _summarise(report: Any, error: BaseException) -> None:
    """Give pytest's summary the first line, without the name of the exception: that takes the room of the cause."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if isinstance(error, ExpectationError) and crash is not None:
        report.longrepr.reprcrash = type(crash)(crash.path, crash.lineno, error.report.headline)


def _put_off_success(report: Any, servers: ServersOfFixtures) -> None:
    """Delay pytest's report that a test marked as xfail has passed, until that is certain: perhaps after tear-down."""
    if report.when == "call" and not servers.running and servers.undecided():
        if hasattr(report, "wasxfail") or str(report.longrepr).startswith("[XPASS"):
            names = {"outcome", "longrepr", "wasxfail"}.intersection(vars(report))
            servers.put_off({name: vars(report).pop(name) for name in names})
            report.outcome, report.longrepr = "passed", None
            report.tcpserver_put_off = True
    elif report.when == "teardown" and servers.success:
        vars(report).update(servers.success, tcpserver_put_off=False)


@pytest.hookimpl(tryfirst=True)
def pytest_report_teststatus(report: Any) -> Any:
    """Count a test whose success was delayed only once: when the success is reported."""
    put_off = getattr(report, "tcpserver_put_off", None)
    if put_off:
        return "", "", ""
    if put_off is False and report.failed:
        return "failed", "F", "FAILED"
    return None


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Show a failure at the line of the script, and the transcript in a section of its own."""
    servers = item.stash.get(SERVERS, None)
    yield from _report(item, call, servers)
    if servers is not None and call.when == "teardown":
        servers.let_go()  # pytest keeps the item


def _report(item: pytest.Item, call: pytest.CallInfo[None],
            servers: Optional[ServersOfFixtures]) -> Generator[None, Any, None]:
    if servers is not None and servers.running and call.excinfo is not None:
        _replace_by_verdict(call, servers)
    full = item.config.getoption("fulltrace", False)
    if call.excinfo is None or servers is None:
        if call.excinfo is not None:
            _note_as_told(call.excinfo.value)
            if not full:
                hide_our_frames(call.excinfo.value)  # of a server that the test has made itself
        outcome = yield
        if call.excinfo is not None:
            _summarise(outcome.get_result(), call.excinfo.value)
        if servers is not None:
            _put_off_success(outcome.get_result(), servers)
        return
    error = call.excinfo.value
    verdict = error if isinstance(error, ExpectationError) else None
    if not full:
        located = None
        if verdict is not None and servers.is_verdict(verdict):
            located = cut_to_script(verdict, getattr(item, "obj", None), servers.frame)
        if verdict is not None and located is not None:
            call.excinfo = pytest.ExceptionInfo.from_exc_info((type(verdict), verdict, located))
        else:
            hide_our_frames(error)
    _note_as_told(error)
    if verdict is not None and servers.shows(verdict):
        verdict.report.leave_out_transcript()
    outcome = yield
    report = outcome.get_result()
    _summarise(report, error)
    if report.failed:
        report.sections += servers.sections(verdict)
