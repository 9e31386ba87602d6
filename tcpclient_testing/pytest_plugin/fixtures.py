"""The pytest fixtures: each gives the test a server, or a factory of servers.

- They are synchronous functions, and depend on no plugin for asynchronous tests. An asynchronous server listens at
  once, and runs in the loop in which the test runs.
- All servers of a test are of one kind: they run in its loop, or each runs in its own thread.
- All servers of a test are kept together, in the stash of the test's item.
- At tear-down, each fixture judges the servers that have not been judged before.
- A server that outlives the test is borrowed: it is judged with the others, and cleared.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Callable, Optional, TypeVar, Union

import pytest

from tcpclient_testing.engine.matching.patterns import anything
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.timing import UNSET
from tcpclient_testing.server.connection import Connection
from tcpclient_testing.server.server import ConnectStep, MockTCPServer

from .loops import check_clock, check_loop, loop_of
from .options import server_options, wants_virtual_time
from .servers import ServersOfFixtures

S = TypeVar("S", bound="Union[MockTCPServer, ThreadedMockTCPServer]")

if TYPE_CHECKING:
    from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer

__all__ = [
    "FIXTURES", "SERVERS", "FixtureServer", "TCPServerFactory", "ThreadedTCPServerFactory", "borrow_tcpserver",
    "servers_of", "shared_threaded_tcpserver", "tcpserver", "tcpserver_factory", "threaded_tcpserver",
    "threaded_tcpserver_factory", "_session_tcpserver",
]

__unittest = True

__tracebackhide__ = True

FIXTURES = ("tcpserver", "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory", "borrow_tcpserver")
SERVERS: pytest.StashKey[ServersOfFixtures] = pytest.StashKey()


class FixtureServer(MockTCPServer):
    """The server of the `tcpserver` fixture: a `MockTCPServer` that listens before the test's loop runs.

    Time-outs may be positional arguments, and messages may be keyword arguments, as in test suites that were written
    for pytest-tcpclient.
    """

    _twin = "the fixture threaded_tcpserver"

    def __await__(self) -> Generator[Any, None, FixtureServer]:
        """Return the server: ``server = await tcpserver_factory()``."""
        self._lifetime.attach()
        return self
        yield

    @property
    def address(self) -> tuple[str, int]:
        """The server's ``(host, port)``, as `socket.create_connection` takes it."""
        self._lifetime.attach()
        return super().address

    def expect_connect(self, timeout: Optional[float] = UNSET, *, within: Optional[float] = None,
                       after: Optional[float] = None, label: Optional[str] = None) -> ConnectStep[Connection]:
        return super().expect_connect(timeout=timeout, within=within, after=after, label=label)

    def expect_bytes(self, data: Any = UNSET, timeout: Optional[float] = UNSET, *, within: Optional[float] = None,
                     label: Optional[str] = None, expected_bytes: Any = UNSET) -> Step[bytes]:
        data = _named("expect_bytes", "expected_bytes", expected_bytes, data)
        return super().expect_bytes(data, timeout=timeout, within=within, label=label)

    def expect_frame(self, payload: Any = anything, timeout: Optional[float] = UNSET, *,
                     expected_payload: Any = UNSET, **options: Any) -> Step[Any]:
        if expected_payload is not UNSET:
            payload = expected_payload
        return super().expect_frame(payload, timeout=timeout, **options)

    def expect_disconnect(self, timeout: Optional[float] = UNSET, *, wait_closed: bool = True, unread: bool = False,
                          within: Optional[float] = None, label: Optional[str] = None) -> Step[Any]:
        return super().expect_disconnect(timeout=timeout, wait_closed=wait_closed, unread=unread, within=within,
                                         label=label)


def _named(method: str, name: str, named: Any, positional: Any) -> Any:
    """Return the message, which was given either as a positional or as a keyword argument."""
    if named is not UNSET and positional is not UNSET:
        raise TypeError(f"{method}() takes its bytes once: as the first argument, or as {name}")
    value = positional if named is UNSET else named
    if value is UNSET:
        raise TypeError(f"{method}() takes the bytes that the client has to send")
    return value


class TCPServerFactory:
    """The value of the `tcpserver_factory` fixture: call it once for each server that the test needs."""

    def __init__(self, servers: ServersOfFixtures, loop: Optional[asyncio.AbstractEventLoop],
                 options: dict[str, Any]) -> None:
        self._servers = servers
        self._loop = loop
        self._options = options

    def __call__(self, **options: Any) -> FixtureServer:
        """Return a new server, which listens at once; it may be awaited. `options` override the marker's."""
        server = FixtureServer(**{**self._options, **options})
        try:
            server._lifetime.bind()
            server._lifetime.attach(self._loop)
            self._servers.add_server(server)
            return server
        except BaseException:  # Ctrl-C: nobody else knows the server yet
            server.close()
            raise

    async def stop(self) -> None:
        """Stop all servers: wait for the rest of their scripts, judge, and close. Raise the first failure."""
        verdict = await self._servers.leave_all(blocking=False)
        if verdict is not None:
            raise verdict from None


class ThreadedTCPServerFactory:
    """The value of the `threaded_tcpserver_factory` fixture: call it once for each server that the test needs."""

    def __init__(self, servers: ServersOfFixtures, options: dict[str, Any]) -> None:
        self._servers = servers
        self._options = options

    def __call__(self, **options: Any) -> ThreadedMockTCPServer:
        """Return a new server, which listens at once. `options` override the marker's."""
        from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
        server = ThreadedMockTCPServer(**{**self._options, **options})
        try:
            server.open()
            self._servers.add_server(server)
            server._judgement.set_other_servers(self._servers.servers)
            return server
        except BaseException:  # Ctrl-C: nobody else knows the server yet
            server.close()
            raise

    def stop(self) -> None:
        """Stop all servers: wait for the rest of their scripts, judge, and close. Raise the first failure."""
        verdict = self._servers.leave_blocking()
        if verdict is not None:
            raise verdict from None


@pytest.fixture
def tcpserver(tcpserver_factory: TCPServerFactory) -> FixtureServer:
    """A real TCP server that follows a script and judges the client under test, in asynchronous tests.

    It listens from the beginning, at `tcpserver.address`. Write the script with `expect_connect()` and the steps after
    it; whether the client kept to it is checked after the test. If a script does not say how a connection ends, an
    `expect_disconnect()` is added.
    """
    return tcpserver_factory()


@pytest.fixture
def tcpserver_factory(request: pytest.FixtureRequest) -> Iterator[TCPServerFactory]:
    """A factory of servers like `tcpserver`: each call, which may be awaited, returns one. `stop()` judges them all."""
    servers = servers_of(request.node)
    _use(request, servers, threaded=False)
    check_loop(request)
    options, loop = server_options(request), loop_of(request)
    check_clock(request, loop)
    factory = TCPServerFactory(servers, loop, options)
    yield factory
    _finish(servers)


@pytest.fixture
def threaded_tcpserver(threaded_tcpserver_factory: ThreadedTCPServerFactory) -> ThreadedMockTCPServer:
    """A server like `tcpserver`, in its own thread, for clients that block, or run in another process or loop."""
    return threaded_tcpserver_factory()


@pytest.fixture
def threaded_tcpserver_factory(request: pytest.FixtureRequest) -> Iterator[ThreadedTCPServerFactory]:
    """A factory of servers like `threaded_tcpserver`: each call returns one. `stop()` judges them all."""
    servers = servers_of(request.node)
    _use(request, servers, threaded=True)
    options = server_options(request)
    if wants_virtual_time(request.node):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, and threaded_tcpserver lives in a thread, in "
                    "which time is real: take the fixture tcpserver, in an asynchronous test", pytrace=False)
    factory = ThreadedTCPServerFactory(servers, options)
    yield factory
    _finish(servers)


@pytest.fixture
def borrow_tcpserver(request: pytest.FixtureRequest) -> Iterator[Callable[[S], S]]:
    """Let a test use a server that outlives it: judge the server after the test, as `tcpserver`, and clear it. ::

        @pytest.fixture(scope="module")
        def module_server():
            with ThreadedMockTCPServer() as server:
                yield server

        @pytest.fixture
        def server(module_server, borrow_tcpserver):
            return borrow_tcpserver(module_server)

    The test begins with an empty script: what happened before belongs to no test. A `MockTCPServer` must run in the
    loop in which the test runs, such as that of ``loop_scope="module"`` of pytest-asyncio.

    Raises `ScriptError` if the server does not run.
    """
    servers = servers_of(request.node)

    def borrow(server: S) -> S:
        if isinstance(server, MockTCPServer):
            _use(request, servers, threaded=False)
            check_loop(request)
            server._lifetime.check_here()
        else:
            _use(request, servers, threaded=True)
            server._script.check_started()
        server._judgement.renew()
        servers.add_server(server, outlives=True)
        if not isinstance(server, MockTCPServer):
            server._judgement.set_other_servers(servers.servers)
        return server
    yield borrow
    _finish(servers)


@pytest.fixture(scope="session")
def _session_tcpserver(request: pytest.FixtureRequest) -> Iterator[ThreadedMockTCPServer]:
    """The server of `shared_threaded_tcpserver`; it has no time-outs but those of the command line and the ini file."""
    from tcpclient_testing.server.threaded.server import ThreadedMockTCPServer
    server = ThreadedMockTCPServer(**server_options(request))
    server.open()
    yield server
    server.close()


@pytest.fixture
def shared_threaded_tcpserver(request: pytest.FixtureRequest, _session_tcpserver: ThreadedMockTCPServer,
                              borrow_tcpserver: Callable[[ThreadedMockTCPServer], ThreadedMockTCPServer],
                              ) -> ThreadedMockTCPServer:
    """A server like `threaded_tcpserver` that lives as long as the session, with one address for all tests.

    Take it for a client that connects only once in the session, such as one that a session-wide fixture configures.
    Each test has an empty script, and its own verdict. For another scope or options see `borrow_tcpserver`.
    """
    if any(marker.kwargs for marker in request.node.iter_markers("tcpserver")):
        pytest.fail(f"{request.node.name} is marked with options of its own, and shared_threaded_tcpserver was made "
                    "before it: take threaded_tcpserver, or borrow_tcpserver for a server with these options",
                    pytrace=False)
    return borrow_tcpserver(_session_tcpserver)


def servers_of(item: pytest.Item) -> ServersOfFixtures:
    """Return the servers of a test; there may be none yet."""
    if SERVERS not in item.stash:
        item.stash[SERVERS] = ServersOfFixtures()
    return item.stash[SERVERS]


def _use(request: pytest.FixtureRequest, servers: ServersOfFixtures, *, threaded: bool) -> None:
    """Note which kind of servers the test uses. Fail if it uses the other kind, too."""
    if not (servers.asynchronous if threaded else servers.blocking):
        if threaded:
            servers.uses_blocking()
        else:
            servers.uses_asynchronous()
        return
    pytest.fail(f"{request.node.name} takes both tcpserver and threaded_tcpserver: all servers of a test are of one "
                "kind; for several, use tcpserver_factory or threaded_tcpserver_factory", pytrace=False)


def _finish(servers: ServersOfFixtures) -> None:
    """Tear down the servers: judge those that are not judged yet, close all, and raise the verdict."""
    verdict = servers.finish()
    if verdict is not None:
        raise verdict from None
