"""The event loop in which a test will run, as far as that can be known while its fixtures are set up.

The plugin for asynchronous tests chooses it. pytest-asyncio keeps it in a fixture; anyio's runs asynchronous fixtures
in it, so that one of ours learns it; trio's is none that a server could live in. A loop that is known before the server
listens also lives longer than the server; where none is known yet, the server takes the one that the test runs in.

A test that asks for virtual time has a loop on virtual time, or fails: it would really wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
from asyncio import events
from collections.abc import Iterator
from typing import Any, Optional

import pytest

from .pytest_clocks import current_policy, virtual_loops_of
from .pytest_options import wants_virtual_time

__all__ = ["check_clock", "check_loop", "clock_of_fixture", "loop_of"]

__unittest = True
__tracebackhide__ = True

# The fixture by which pytest-asyncio keeps the loop of a test: "event_loop" before 1.0.
_LOOP_FIXTURE = re.compile(r"event_loop|.*<event_loop>|_[a-z]+_(scoped_runner|event_loop)")


def check_loop(request: pytest.FixtureRequest) -> None:
    """Refuse tests that an asynchronous server can't serve."""
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


def loop_of(request: pytest.FixtureRequest) -> Optional[asyncio.AbstractEventLoop]:
    """The loop in which the test will run, if that is known by now; then it also lives longer than the server."""
    running = events._get_running_loop()
    if running is not None:
        return running
    # In its automatic mode pytest-asyncio runs tests that are marked for anyio, too.
    names = [name for name in reversed(request.fixturenames) if _LOOP_FIXTURE.fullmatch(name)]
    if names:
        # Those of fixtures in other loops may be among them.
        own = f"_{_loop_scope(request)}_"
        name = next((name for name in names if name.startswith(own)), names[0])
        value = request.getfixturevalue(name)
        found = value.get_loop() if hasattr(value, "get_loop") else value
        return found if isinstance(found, asyncio.AbstractEventLoop) else None
    if _backend(request) is not None:
        loop: asyncio.AbstractEventLoop = request.getfixturevalue("_tcpserver_anyio_loop")
        return loop
    return None


def _loop_scope(request: pytest.FixtureRequest) -> str:
    """The scope of the loop in which pytest-asyncio runs the test: its marker's, or the ini file's."""
    marker = request.node.get_closest_marker("asyncio")
    options = {} if marker is None else marker.kwargs
    scope = options.get("loop_scope") or options.get("scope")
    if scope is None:
        with contextlib.suppress(ValueError):  # older versions have no such option
            scope = request.config.getini("asyncio_default_test_loop_scope")
    return str(scope or "function")


@pytest.fixture
async def _tcpserver_anyio_loop() -> Any:
    """The loop in which anyio's plugin runs the test, which it keeps until after the server."""
    yield asyncio.get_running_loop()


@contextlib.contextmanager
def clock_of_fixture(request: pytest.FixtureRequest, name: str, function: Any) -> Iterator[None]:
    """If a fixture may have the loop of a test on virtual time made, let that be a virtual one."""
    makes_loop = (_LOOP_FIXTURE.fullmatch(name) or inspect.iscoroutinefunction(function)
                  or inspect.isasyncgenfunction(function))
    if not (makes_loop and wants_virtual_time(request.node)):
        yield
        return
    policies = [current_policy()]
    if "event_loop_policy" in request.fixturenames:  # pytest-asyncio's, from 0.23 on: it sets this one meanwhile
        policies.append(request.getfixturevalue("event_loop_policy"))
    with virtual_loops_of(*policies):
        yield


def check_clock(request: pytest.FixtureRequest, loop: Optional[asyncio.AbstractEventLoop]) -> None:
    """Refuse a test that asks for virtual time and whose loop does not have it: it would really wait."""
    if loop is None or not wants_virtual_time(request.node):
        return
    from .aio.clock import is_virtual
    if not is_virtual(loop):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, but runs in a {type(loop).__name__} that the "
                    "suite has chosen (a loop factory or uvloop: name tcpclient_testing.VirtualClockEventLoop "
                    "there), or that tests share (mark all that share it: pytestmark = "
                    "pytest.mark.tcpserver(virtual_time=True) for a module)", pytrace=False)
