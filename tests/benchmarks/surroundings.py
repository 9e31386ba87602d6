"""The threaded server, TLS, and pytest's fixture."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import socket
import ssl
import sys
import threading
import time
from functools import partial
from typing import Any

import tcpclient_testing
from tcpclient_testing import MockTCPServer

from .by_hand import Comparing
from .clients import InThread
from .measuring import OURS, RAW, STREAMS, Scenario, Skip
from .under_pytest import costs_of_tests

__all__ = ["pytest_fixture", "threaded_server", "tls"]

_REQUEST, _REPLY = b"q" * 31 + b"\n", b"r" * 31 + b"\n"


def _ask(address: tuple[str, int], count: int) -> None:
    with socket.create_connection(address) as client:
        for _ in range(count):
            client.sendall(_REQUEST)
            got = client.recv(64)
            assert got == _REPLY


def threaded_server(count: int) -> Scenario:
    """Request and reply with a client that blocks: the server in a thread, beside a server by hand that blocks too."""
    threaded: Any = getattr(tcpclient_testing, "ThreadedMockTCPServer", None)
    if threaded is None:
        raise Skip("there is no ThreadedMockTCPServer")

    def ours() -> float:
        started = time.process_time()
        with threaded() as server:
            server.expect_connect()
            for _ in range(count):
                server.expect_bytes(_REQUEST)
                server.send_bytes(_REPLY)
            server.expect_disconnect()
            _ask(server.address, count)
        return (time.process_time() - started) / count

    def serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            for _ in range(count):
                got = accepted.recv(64)
                assert got == _REQUEST
                accepted.sendall(_REPLY)

    def by_hand() -> float:
        started = time.process_time()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=serve, args=(listener,))
            thread.start()
            _ask(listener.getsockname(), count)
            thread.join()
        return (time.process_time() - started) / count
    return Scenario("threaded", "the same, threaded server (raw: sockets)", "us", None, {OURS: ours, RAW: by_hand})


def tls(size: int) -> Scenario:
    """One expectation of many bytes over TLS, beside a protocol by hand and streams."""
    if "tls" not in inspect.signature(MockTCPServer).parameters:
        raise Skip("MockTCPServer has no tls=")
    from tcpclient_testing.tls import client_context, server_context
    payload = bytes(size)
    server_side = server_context()

    def client(address: tuple[str, int]) -> None:
        with socket.create_connection(address) as plain, \
                client_context().wrap_socket(plain, server_hostname="localhost") as connection:
            connection.sendall(payload)
            try:
                connection.unwrap()
            except (ssl.SSLError, OSError):
                pass  # a server may close without its farewell

    async def ours() -> float:
        started = time.thread_time()
        async with MockTCPServer(tls=server_side) as server:
            server.expect_connect()
            server.expect_bytes(payload)
            server.expect_disconnect()
            await InThread(partial(client, server.address)).ended()
        return time.thread_time() - started

    async def streams() -> float:
        ended = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            ended.set_result(await reader.readexactly(size) == payload)
            writer.close()
        started = time.thread_time()
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=server_side)
        await InThread(partial(client, server.sockets[0].getsockname())).ended()
        answered = await ended
        assert answered
        server.close()
        return time.thread_time() - started

    async def raw() -> float:
        protocols: list[Comparing] = []

        def factory() -> Comparing:
            protocols.append(Comparing(payload))
            return protocols[-1]
        started = time.thread_time()
        server = await asyncio.get_running_loop().create_server(factory, "127.0.0.1", 0, ssl=server_side)
        await InThread(partial(client, server.sockets[0].getsockname())).ended()
        while protocols[0].offset < size:
            await asyncio.sleep(0)
        # A client that is gone without a farewell ends the stream in one Python by an end of file, in another by an
        # error: what counts is that every byte came.
        protocols[0].ended.cancel()
        server.close()
        return time.thread_time() - started
    contestants = {name: lambda function=function: asyncio.run(function())  # type: ignore[misc]
                   for name, function in ((OURS, ours), (STREAMS, streams), (RAW, raw))}
    return Scenario("tls", f"one expectation of {size >> 20} MiB over TLS, CPU time", "ms", None, contestants)


_TESTS = """
import asyncio
import pytest

COUNT = 100

async def client(address):
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"Hello, server!")
    got = await reader.readexactly(14)
    assert got == b"Hello, client!"
    writer.close()
    await writer.wait_closed()

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(COUNT))
async def test_empty(number):
    pass

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(COUNT))
async def test_ours(number, tcpserver):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"Hello, server!")
    tcpserver.send_bytes(b"Hello, client!")
    tcpserver.expect_disconnect()
    await client(tcpserver.address)

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(COUNT))
async def test_streams(number):
    ended = asyncio.get_running_loop().create_future()
    async def serve(reader, writer):
        got = await reader.readexactly(14)
        assert got == b"Hello, server!"
        writer.write(b"Hello, client!")
        await writer.drain()
        ended.set_result(await reader.read())
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    await client(server.sockets[0].getsockname())
    assert await ended == b""
    server.close()
"""


def pytest_fixture() -> Scenario:
    """A trivial test with the fixture `tcpserver`, above an empty one; needs pytest and pytest-asyncio."""
    for module in ("tcpclient_testing.pytest_plugin", "pytest", "pytest_asyncio"):
        if importlib.util.find_spec(module) is None:
            raise Skip(f"there is no {module}")
    plugin = () if _is_registered() else ("-p", "tcpclient_testing.pytest_plugin")

    def above(name: str) -> float:
        costs = costs_of_tests(sys.executable, _TESTS, *plugin)
        return costs[name] - costs["test_empty"]
    return Scenario("pytest", "a trivial test with the pytest fixture", "ms", None,
                    {OURS: lambda: above("test_ours"), STREAMS: lambda: above("test_streams")})


def _is_registered() -> bool:
    from importlib.metadata import PackageNotFoundError, distribution
    try:
        entry_points = distribution("tcpclient-testing").entry_points
    except PackageNotFoundError:
        return False
    return any(entry_point.group == "pytest11" for entry_point in entry_points)
