"""Finds the event loop in which a test under pytest will run, as far as it is known while fixtures are set up.

The plugin for asynchronous tests chooses the loop:

- pytest-asyncio keeps it in a fixture.
- anyio's plugin runs asynchronous fixtures in it, so a fixture of ours can find it.
- trio has no asyncio loop, so a server can't run there.

A loop that is known before the server listens also outlives the server. If none is known yet, the server takes the loop
that the test runs in.

A test that asks for virtual time must have a loop on virtual time. Otherwise it fails, since it would really wait.
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

from tcpclient_testing.virtual_time.policies import current_policy, virtual_loops_of

from .options import wants_virtual_time

__all__ = ["check_clock", "check_loop", "clock_of_fixture", "loop_of"]

__unittest = True

__tracebackhide__ = True

# The fixture in which pytest-asyncio keeps the loop of a test: "event_loop" before 1.0.
_LOOP_FIXTURE = re.compile(r"event_loop|.*<event_loop>|_[a-z]+_(scoped_runner|event_loop)")


def check_loop(request: pytest.FixtureRequest) -> None:
    """Skip a test that runs in trio's loop, and fail one that is not asynchronous: `tcpserver` can't serve them."""
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
    """Return the backend on which anyio's plugin runs the test; None if that plugin does not run it."""
    if "anyio_backend" not in request.fixturenames:
        return None
    backend = request.getfixturevalue("anyio_backend")
    return backend if isinstance(backend, str) else backend[0]


def loop_of(request: pytest.FixtureRequest) -> Optional[asyncio.AbstractEventLoop]:
    """Return the loop in which the test will run, if it is known by now. Such a loop also outlives the server."""
    running = events._get_running_loop()
    if running is not None:
        return running
    # Check this before anyio: pytest-asyncio, in its automatic mode, also runs tests that are marked for anyio.
    names = [name for name in reversed(request.fixturenames) if _LOOP_FIXTURE.fullmatch(name)]
    if names:
        # The names may include the loops of fixtures that don't run in the test's loop.
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
    """Return the scope of the loop in which pytest-asyncio runs the test: from the marker, or from the ini file."""
    marker = request.node.get_closest_marker("asyncio")
    options = {} if marker is None else marker.kwargs
    scope = options.get("loop_scope") or options.get("scope")
    if scope is None:
        with contextlib.suppress(ValueError):  # older versions have no such option
            scope = request.config.getini("asyncio_default_test_loop_scope")
    return str(scope or "function")


@pytest.fixture
async def _tcpserver_anyio_loop() -> Any:
    """The loop in which anyio's plugin runs the test. This fixture keeps the loop open until after the server."""
    yield asyncio.get_running_loop()


@contextlib.contextmanager
def clock_of_fixture(request: pytest.FixtureRequest, name: str, function: Any) -> Iterator[None]:
    """If a fixture may create the loop of a test that asks for virtual time, make that loop a virtual one."""
    makes_loop = (_LOOP_FIXTURE.fullmatch(name) or inspect.iscoroutinefunction(function)
                  or inspect.isasyncgenfunction(function))
    if not (makes_loop and wants_virtual_time(request.node)):
        yield
        return
    policies = [current_policy()]
    if "event_loop_policy" in request.fixturenames:  # pytest-asyncio's, from 0.23 on: the policy it sets meanwhile
        policies.append(request.getfixturevalue("event_loop_policy"))
    with virtual_loops_of(*policies):
        yield


def check_clock(request: pytest.FixtureRequest, loop: Optional[asyncio.AbstractEventLoop]) -> None:
    """Fail a test that asks for virtual time if its loop does not have it: the test would really wait."""
    if loop is None or not wants_virtual_time(request.node):
        return
    from tcpclient_testing.virtual_time.loop import is_virtual
    if not is_virtual(loop):
        pytest.fail(f"{request.node.name} asks for virtual_time=True, but runs in a {type(loop).__name__} that the "
                    "suite has chosen (a loop factory or uvloop: name tcpclient_testing.VirtualClockEventLoop "
                    "there), or that tests share (mark all that share it: pytestmark = "
                    "pytest.mark.tcpserver(virtual_time=True) for a module)", pytrace=False)
