"""pytest-tcpclient beside ours: the same tests, with the same interpreter and pytest, once with each one's fixture."""

from __future__ import annotations

import subprocess

from .under_pytest import costs_of_tests

__all__ = ["peer_table"]

# What both fixtures can do. Each waits for the client's disconnection at the end of a test by itself.
_TESTS = """
import asyncio, time
import pytest

REQUEST, REPLY = b"q" * 31 + b"\\n", b"r" * 31 + b"\\n"

def port_of(server):
    return server.address[1] if hasattr(server, "address") else server.service_port

async def hello(server):
    server.expect_connect()
    server.expect_bytes(b"Hello, server!")
    server.send_bytes(b"Hello, client!")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(server))
    writer.write(b"Hello, server!")
    assert await reader.readexactly(14) == b"Hello, client!"
    writer.close()
    await writer.wait_closed()

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(50))
async def test_empty(number):
    pass

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(50))
async def test_trivial(tcpserver, number):
    await hello(tcpserver)

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(50))
async def test_trivial_debug(tcpserver, number):
    asyncio.get_running_loop().set_debug(True)
    await hello(tcpserver)

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(3))
async def test_pipelined(tcpserver, number):
    tcpserver.expect_connect()
    messages = [b"%015d\\n" % number for number in range(10_000)]
    for message in messages:
        tcpserver.expect_bytes(message)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(tcpserver))
    writer.write(b"".join(messages))
    await tcpserver.join()
    writer.close()
    await writer.wait_closed()

@pytest.mark.asyncio
@pytest.mark.parametrize("number", range(3))
async def test_dialogue(tcpserver, number):
    tcpserver.expect_connect()
    for _ in range(1_000):
        tcpserver.expect_bytes(REQUEST)
        tcpserver.send_bytes(REPLY)
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(tcpserver))
    for _ in range(1_000):
        writer.write(REQUEST)
        await reader.readexactly(32)
    writer.close()
    await writer.wait_closed()

@pytest.mark.xfail(strict=True)
@pytest.mark.asyncio
async def test_early(tcpserver, record):
    tcpserver.expect_connect()
    tcpserver.expect_bytes(b"Hello, server!")
    reader, writer = await asyncio.open_connection("127.0.0.1", port_of(tcpserver))
    writer.write(b"J")
    started = time.perf_counter()
    try:
        await tcpserver.join()
    finally:
        record(time.perf_counter() - started)
"""

# The title of a row, its test, and what turns seconds into the figure for each. An empty test's cost is taken off.
_ROWS = (
    ("a trivial test, above the empty one (ms)", "test_trivial", 1e3),
    ("the same, the loop in debug mode (ms)", "test_trivial_debug", 1e3),
    ("10,000 expectations of 16 bytes, each (us)", "test_pipelined", 1e6 / 10_000),
    ("request and reply, 32 bytes, each (us)", "test_dialogue", 1e6 / 1_000),
    ("a wrong first byte, reported after (ms)", "test_early recorded", 1e3),
)


def _figures(interpreter: str, *arguments: str) -> dict[str, float]:
    costs = costs_of_tests(interpreter, _TESTS, *arguments)
    empty = costs["test_empty"]
    return {name: cost if name.endswith("recorded") else cost - empty for name, cost in costs.items()}


def peer_table(interpreter: str) -> str:
    """Run the tests with both fixtures under `interpreter`; return a table.

    It needs pytest-tcpclient 0.7.29 and what goes with it: Python 3.11, pytest<8 and pytest-asyncio. RuntimeError with
    pytest's output if they don't work there.
    """
    versions = subprocess.run([interpreter, "-c", _VERSIONS], stdout=subprocess.PIPE, text=True, check=True).stdout
    ours = _figures(interpreter, "-p", "no:tcpclient", "-p", "tcpclient_testing.pytest_plugin")
    theirs = _figures(interpreter)
    lines = [versions.strip(), f"{'':46}{'ours':>10}{'theirs':>10}{'ratio':>10}"]
    for title, name, scale in _ROWS:
        lines.append(f"{title:46}{ours[name] * scale:>10.3g}{theirs[name] * scale:>10.4g}"
                     f"{ours[name] / theirs[name]:>10.2g}")
    return "\n".join(lines)


_VERSIONS = """
import platform
from importlib.metadata import version
print("Python", platform.python_version() + ", medians of CPU times;",
      *[f"{name} {version(name)}" for name in ("pytest-tcpclient", "pytest", "pytest-asyncio")])
"""
