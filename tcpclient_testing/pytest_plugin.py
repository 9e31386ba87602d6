"""pytest: fixtures that give tests a server, and make its verdict theirs. pytest loads this by its entry point.

    fixtures -> test function (the body) -> the verdict -> tear-down of fixtures -> what only tear-down can show

The fixtures are synchronous functions and depend on no plugin for asynchronous tests: the server listens at once, and
lives in the loop in which the test runs. The test function is wrapped while it is called, so that its own report has
the verdict. Where a fixture that was set up after the server has still to be torn down, it may close the client, say:
then what is not decided yet is judged after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import re
from asyncio import events
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Optional, Union

import pytest

from .aio.server import MockTCPServer
from .pytest_clocks import current_policy, virtual_loops_of
from .pytest_servers import FixtureServer, ServersOfFixtures
from .pytest_tracebacks import cut_to_script, hide_our_frames
from .report import ExpectationError

if TYPE_CHECKING:
    from .threaded import ThreadedMockTCPServer

__all__ = ["TCPServerFactory", "ThreadedTCPServerFactory"]

__unittest = True
__tracebackhide__ = True

_SCALE = "TCPCLIENT_TESTING_TIMEOUT_SCALE"
_SERVERS: pytest.StashKey[ServersOfFixtures] = pytest.StashKey()
_SCALE_BEFORE: pytest.StashKey[Optional[str]] = pytest.StashKey()
_OPTIONS = tuple(name for name in inspect.signature(MockTCPServer.__init__).parameters if name != "self")
_CONFIGURATION = (
    ("timeout", "SECONDS", "seconds without progress after which a step has failed, or 'none' (default: 5)"),
    ("idle_timeout", "SECONDS", ("seconds after which a complete script has failed because a client stays connected "
                                 "and nothing happens, or 'none' (default: 30)")),
    ("timeout_scale", "FACTOR", ("multiply these time-outs, on slow machines; goes before the environment variable "
                                 f"{_SCALE} (default: 1)")),
)
_FIXTURES = ("tcpserver", "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory")
# The fixture by which pytest-asyncio keeps the loop of a test: "event_loop" before 1.0.
_LOOP_FIXTURE = re.compile(r"event_loop|.*<event_loop>|_[a-z]+_(scoped_runner|event_loop)")
# Fixtures of these packages close no client.
_NO_CLIENTS = frozenset({"_pytest", "pytest_asyncio", "anyio", "pytest_mock", "tcpclient_testing", "xdist"})


# Options.

def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options, on the command line and in the ini file."""
    group = parser.getgroup("tcpserver", "tcpserver (tcpclient_testing)")
    for name, metavar, meaning in _CONFIGURATION:
        group.addoption(f"--tcpserver-{name.replace('_', '-')}", dest=f"tcpserver_{name}", metavar=metavar,
                        default=None, help=f"tcpserver: {meaning}")
        parser.addini(f"tcpserver_{name}", f"tcpserver: {meaning}", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and check the options."""
    config.addinivalue_line("markers", "tcpserver(timeout=5.0, idle_timeout=30.0, virtual_time=False, ...): make the "
                            "servers of this test with these options, those of tcpclient_testing.MockTCPServer; with "
                            "virtual_time=True the clock of the test's event loop jumps over waiting; the closest "
                            "marker wins")
    for name in ("timeout", "idle_timeout"):
        _option(config, name)
    scale = _option(config, "timeout_scale")
    if scale is not None:
        config.stash[_SCALE_BEFORE] = os.environ.get(_SCALE)
        os.environ[_SCALE] = repr(scale)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    if _SCALE_BEFORE in config.stash:
        before = config.stash[_SCALE_BEFORE]
        os.environ.pop(_SCALE, None)
        if before is not None:
            os.environ[_SCALE] = before


def _option(config: pytest.Config, name: str) -> Union[float, str, None]:
    """The value of an option: a number, "none", or None where it is not given. Raises `pytest.UsageError`."""
    text = config.getoption(f"tcpserver_{name}")
    where = f"--tcpserver-{name.replace('_', '-')}"
    if text is None:
        text, where = config.getini(f"tcpserver_{name}"), f"tcpserver_{name} in the ini file"
    if not text:
        return None
    if text.strip().lower() == "none" and name != "timeout_scale":
        return "none"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        also = "" if name == "timeout_scale" else ", or 'none'"
        raise pytest.UsageError(f"{where} is a number greater than 0{also}, not {text!r}")
    return value


def _server_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The options with which the servers of a test are made: ini file, command line, then markers."""
    options: dict[str, Any] = {}
    for name in ("timeout", "idle_timeout"):
        value = _option(request.config, name)
        if value is not None:
            options[name] = None if value == "none" else value
    for marker in reversed(list(request.node.iter_markers("tcpserver"))):
        if marker.args:
            pytest.fail(f"@pytest.mark.tcpserver takes options by name, as in tcpserver(timeout=2.0), not "
                        f"{marker.args[0]!r}", pytrace=False)
        for name in marker.kwargs:
            _check_option(name)
        options.update(marker.kwargs)
    options.pop("virtual_time", None)
    return options


def _check_option(name: str) -> None:
    if name not in _OPTIONS and name != "virtual_time":
        from difflib import get_close_matches
        close = get_close_matches(name, (*_OPTIONS, "virtual_time"), 1)
        meant = f"did you mean {close[0]!r}? " if close else ""
        pytest.fail(f"@pytest.mark.tcpserver: servers have no option {name!r}; {meant}there are: "
                    f"{', '.join(_OPTIONS)}, virtual_time", pytrace=False)


# Virtual time.

def _wants_virtual_time(node: Any) -> bool:
    """Whether the closest marker of a test, or of what shares a fixture, that says `virtual_time` asks for it."""
    for marker in node.iter_markers("tcpserver"):
        if "virtual_time" in marker.kwargs:
            wanted = marker.kwargs["virtual_time"]
            if not isinstance(wanted, bool):
                pytest.fail(f"@pytest.mark.tcpserver: virtual_time is True or False, not {wanted!r}", pytrace=False)
            return wanted
    return False


@contextlib.contextmanager
def _clock_of_fixture(request: pytest.FixtureRequest, name: str, function: Any) -> Iterator[None]:
    """If a fixture may have the loop of a test on virtual time made, let that be a virtual one."""
    makes_loop = (_LOOP_FIXTURE.fullmatch(name) or inspect.iscoroutinefunction(function)
                  or inspect.isasyncgenfunction(function))
    if not (makes_loop and _wants_virtual_time(request.node)):
        yield
        return
    policies = [current_policy()]
    if "event_loop_policy" in request.fixturenames:  # pytest-asyncio's, from 0.23 on: it sets this one meanwhile
        policies.append(request.getfixturevalue("event_loop_policy"))
    with virtual_loops_of(*policies):
        yield


def _check_clock(request: pytest.FixtureRequest, loop: Optional[asyncio.AbstractEventLoop]) -> None:
    """Refuse a test that asks for virtual time and whose loop does not have it: it would really wait."""
    if loop is None or not _wants_virtual_time(request.node):
        return
    from .aio.clock import is_virtual
    if not is_virtual(loop):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, but runs in a {type(loop).__name__} that the "
                    "suite has chosen (a loop factory or uvloop: name tcpclient_testing.VirtualClockEventLoop "
                    "there), or that tests share (mark all that share it: pytestmark = "
                    "pytest.mark.tcpserver(virtual_time=True) for a module)", pytrace=False)


# Fixtures.

class TCPServerFactory:
    """What the fixture `tcpserver_factory` gives: call it for each server that the test needs."""

    def __init__(self, servers: ServersOfFixtures, loop: Optional[asyncio.AbstractEventLoop],
                 options: dict[str, Any]) -> None:
        self._servers = servers
        self._loop = loop
        self._options = options

    def __call__(self, **options: Any) -> FixtureServer:
        """Make a server, which listens at once; it may be awaited. `options` go before the marker's."""
        server = FixtureServer(**{**self._options, **options})
        server.bind()
        server.attach(self._loop)
        self._servers.add(server)
        return server

    async def stop(self) -> None:
        """Leave all servers: wait for the rest of their scripts, judge, and close; raise the first failure."""
        verdict = await self._servers.leave_all()
        if verdict is not None:
            raise verdict from None


class ThreadedTCPServerFactory:
    """What the fixture `threaded_tcpserver_factory` gives: call it for each server that the test needs."""

    def __init__(self, servers: ServersOfFixtures, options: dict[str, Any]) -> None:
        self._servers = servers
        self._options = options

    def __call__(self, **options: Any) -> ThreadedMockTCPServer:
        """Make a server, which listens at once. `options` go before the marker's."""
        from .threaded import ThreadedMockTCPServer
        server = ThreadedMockTCPServer(**{**self._options, **options})
        server.open()
        self._servers.threaded.append(server)
        return server

    def stop(self) -> None:
        """Leave all servers: wait for the rest of their scripts, judge, and close; raise the first failure."""
        verdict = self._servers.leave_threaded()
        if verdict is not None:
            raise verdict from None


@pytest.fixture
def tcpserver(tcpserver_factory: TCPServerFactory) -> FixtureServer:
    """A real TCP server that follows a script and judges the client under test, in asynchronous tests.

    It listens from the beginning, at `tcpserver.address`, and is judged after the test: as `expect_connect()` and the
    steps that follow say. A script that does not say how a connection ends, ends with `expect_disconnect()`.
    """
    return tcpserver_factory()


@pytest.fixture
def tcpserver_factory(request: pytest.FixtureRequest) -> Iterator[TCPServerFactory]:
    """What makes several servers like `tcpserver`, one whenever it is called and awaited; `stop()` judges them all."""
    servers = _servers_of(request.node)
    _check_test(request, servers)
    options, loop = _server_options(request), _loop_of(request)
    _check_clock(request, loop)
    factory = TCPServerFactory(servers, loop, options)
    servers.asynchronous = True
    yield factory
    _finish(servers)


@pytest.fixture
def threaded_tcpserver(threaded_tcpserver_factory: ThreadedTCPServerFactory) -> ThreadedMockTCPServer:
    """A server like `tcpserver` in a thread of its own, for clients that block, or run in another process or loop."""
    return threaded_tcpserver_factory()


@pytest.fixture
def threaded_tcpserver_factory(request: pytest.FixtureRequest) -> Iterator[ThreadedTCPServerFactory]:
    """What makes several servers like `threaded_tcpserver`, one whenever it is called; `stop()` judges them all."""
    servers = _servers_of(request.node)
    if servers.asynchronous:
        _fail_for_both(request)
    options = _server_options(request)
    if _wants_virtual_time(request.node):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, and threaded_tcpserver lives in a thread, in "
                    "which time is real: take the fixture tcpserver, in an asynchronous test", pytrace=False)
    factory = ThreadedTCPServerFactory(servers, options)
    servers.blocking = True
    yield factory
    _finish(servers)


@pytest.fixture
async def _tcpserver_anyio_loop() -> Any:
    """The loop in which anyio's plugin runs the test, which it keeps until after the server."""
    yield asyncio.get_running_loop()


def _servers_of(item: pytest.Item) -> ServersOfFixtures:
    if _SERVERS not in item.stash:
        item.stash[_SERVERS] = ServersOfFixtures()
    return item.stash[_SERVERS]


def _fail_for_both(request: pytest.FixtureRequest) -> None:
    pytest.fail(f"{request.node.name} takes both tcpserver and threaded_tcpserver: one server follows one script; take "
                "the factory of the one kind that fits for several servers", pytrace=False)


def _check_test(request: pytest.FixtureRequest, servers: ServersOfFixtures) -> None:
    """Refuse tests that an asynchronous server can't serve."""
    if servers.blocking:
        _fail_for_both(request)
    item = request.node
    if _backend(request) == "trio" or item.get_closest_marker("trio") is not None:
        pytest.skip("tcpserver lives in an asyncio event loop, and this test runs in trio's: threaded_tcpserver serves "
                    "both")
    function = getattr(item, "obj", None)
    awaited = getattr(getattr(function, "hypothesis", None), "inner_test", None)
    candidates = [] if function is None else [function, inspect.unwrap(function), awaited]
    if not any(map(inspect.iscoroutinefunction, candidates)):
        pytest.fail(f"{item.name} is not `async def`, and tcpserver lives in the event loop of an asynchronous test: "
                    "take the fixture threaded_tcpserver for a client that blocks", pytrace=False)


def _backend(request: pytest.FixtureRequest) -> Optional[str]:
    """The backend on which anyio's plugin runs the test; None where it does not."""
    if "anyio_backend" not in request.fixturenames:
        return None
    backend = request.getfixturevalue("anyio_backend")
    return backend if isinstance(backend, str) else backend[0]


def _loop_of(request: pytest.FixtureRequest) -> Optional[asyncio.AbstractEventLoop]:
    """The loop in which the test will run, if that is known by now; then it also lives longer than the server."""
    running = events._get_running_loop()
    if running is not None:
        return running
    # In its automatic mode pytest-asyncio runs tests that are marked for anyio, too.
    for name in reversed(request.fixturenames):
        if _LOOP_FIXTURE.fullmatch(name):
            value = request.getfixturevalue(name)
            found = value.get_loop() if hasattr(value, "get_loop") else value
            return found if isinstance(found, asyncio.AbstractEventLoop) else None
    if _backend(request) is not None:
        loop: asyncio.AbstractEventLoop = request.getfixturevalue("_tcpserver_anyio_loop")
        return loop
    return None


# The test.

@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any],
                         request: pytest.FixtureRequest) -> Generator[None, Any, None]:
    """Note the fixtures that are torn down before the server: they may still close the client."""
    function = inspect.unwrap(fixturedef.func)  # plugins for asynchronous tests put another in its place now
    with _clock_of_fixture(request, fixturedef.argname, function):
        yield
    servers = request.node.stash.get(_SERVERS, None)
    if servers is not None and fixturedef.scope == "function" and _may_close_clients(function):
        servers.later.append(function.__code__)


def _may_close_clients(function: Any) -> bool:
    if getattr(function, "__module__", "").partition(".")[0] in _NO_CLIENTS or not hasattr(function, "__code__"):
        return False
    names = function.__code__.co_varnames[:function.__code__.co_argcount + function.__code__.co_kwonlyargcount]
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) or "request" in names


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, None]:
    """If a script fails while fixtures are set up, that is what the test reports."""
    outcome = yield
    servers = item.stash.get(_SERVERS, None)
    if servers is not None and outcome.excinfo is not None and isinstance(outcome.excinfo[1], Exception):
        verdict = servers.verdict_instead_of(outcome.excinfo[1])
        if verdict is not None:
            _force_exception(outcome, verdict)


@pytest.hookimpl(hookwrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, None]:
    """Wrap the test function, so that the verdict is its own failure."""
    with virtual_loops_of(current_policy()) if _wants_virtual_time(item) else contextlib.nullcontext():
        yield from _judged_call(item)


def _judged_call(item: pytest.Item) -> Generator[None, Any, None]:
    function = getattr(item, "obj", None)
    names = getattr(item, "fixturenames", ())
    if function is None or not ("request" in names or any(name in names for name in _FIXTURES)):
        yield
        return
    servers = _servers_of(item)
    if "request" in inspect.unwrap(function).__code__.co_varnames:
        servers.later.append(None)  # it may have fixtures made, or add finalizers
    item.obj = servers.wrap(function)  # type: ignore[attr-defined]
    try:
        yield
    finally:
        item.obj = function  # type: ignore[attr-defined]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, None]:
    """What fixtures raise because the server has given up is a consequence: the verdict was reported."""
    outcome = yield
    servers = item.stash.get(_SERVERS, None)
    if servers is not None and outcome.excinfo is not None and servers.explains(outcome.excinfo[1]):
        outcome.force_result(None)


def _finish(servers: ServersOfFixtures) -> None:
    """Tear-down has come to the servers: judge what is still to be judged, and close."""
    verdict = servers.finish()
    if verdict is not None:
        raise verdict from None


def _force_exception(outcome: Any, exception: BaseException) -> None:
    if hasattr(outcome, "force_exception"):
        outcome.force_exception(exception)
    else:  # pluggy before 1.1
        outcome._result, outcome._excinfo = None, (type(exception), exception, exception.__traceback__)


# Reports.

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Show a failure at the line of the script, and the transcript in a section of its own."""
    servers = item.stash.get(_SERVERS, None)
    if servers is None or call.excinfo is None:
        yield
        return
    error = call.excinfo.value
    verdict = error if isinstance(error, ExpectationError) else None
    if not item.config.getoption("fulltrace", False):
        located = None
        if verdict is not None and servers.is_verdict(verdict):
            located = cut_to_script(verdict, getattr(item, "obj", None), servers.frame)
        if verdict is not None and located is not None:
            call.excinfo = pytest.ExceptionInfo.from_exc_info((type(verdict), verdict, located))
        else:
            hide_our_frames(error)
    if verdict is not None:
        verdict.report.leave_out_transcript()
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        report.sections += servers.sections(verdict)
