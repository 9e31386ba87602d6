"""The fixtures, and what they hand out: a server each, or what makes one whenever it is called.

They are synchronous functions and depend on no plugin for asynchronous tests: the server listens at once, and lives in
the loop in which the test runs. A test has the servers of one kind, those in its loop or those in threads of their own,
and all of one test are kept together, in the test's own stash. Each fixture judges them in its tear-down, for what has
not been judged before.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Optional

import pytest

from .pytest_loops import check_clock, check_loop, loop_of
from .pytest_options import server_options, wants_virtual_time
from .pytest_servers import FixtureServer, ServersOfFixtures

if TYPE_CHECKING:
    from .threaded import ThreadedMockTCPServer

__all__ = [
    "FIXTURES", "SERVERS", "TCPServerFactory", "ThreadedTCPServerFactory", "servers_of", "tcpserver",
    "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory",
]

__unittest = True
__tracebackhide__ = True

FIXTURES = ("tcpserver", "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory")
SERVERS: pytest.StashKey[ServersOfFixtures] = pytest.StashKey()


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
    servers = servers_of(request.node)
    if servers.blocking:
        _fail_for_both(request)
    check_loop(request)
    options, loop = server_options(request), loop_of(request)
    check_clock(request, loop)
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
    servers = servers_of(request.node)
    if servers.asynchronous:
        _fail_for_both(request)
    options = server_options(request)
    if wants_virtual_time(request.node):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, and threaded_tcpserver lives in a thread, in "
                    "which time is real: take the fixture tcpserver, in an asynchronous test", pytrace=False)
    factory = ThreadedTCPServerFactory(servers, options)
    servers.blocking = True
    yield factory
    _finish(servers)


def servers_of(item: pytest.Item) -> ServersOfFixtures:
    """Return the servers of a test, of which there may be none yet."""
    if SERVERS not in item.stash:
        item.stash[SERVERS] = ServersOfFixtures()
    return item.stash[SERVERS]


def _fail_for_both(request: pytest.FixtureRequest) -> None:
    pytest.fail(f"{request.node.name} takes both tcpserver and threaded_tcpserver: one server follows one script; take "
                "the factory of the one kind that fits for several servers", pytrace=False)


def _finish(servers: ServersOfFixtures) -> None:
    """Tear-down has come to the servers: judge what is still to be judged, and close."""
    verdict = servers.finish()
    if verdict is not None:
        raise verdict from None
