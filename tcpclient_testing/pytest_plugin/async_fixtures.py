"""Makes asynchronous fixtures interruptible: if a script fails while they are set up or torn down, they are cancelled.

During that time the fixture is treated as the body of the test. To do so, the fixture function is replaced while the
plugin for asynchronous tests reads it. Old versions of pytest-asyncio (such as 0.23) read it when tests are collected:
with them, fixtures are not interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Callable

import pytest

from .servers import ServersOfFixtures

__all__ = ["interruptible_fixture"]

__unittest = True

__tracebackhide__ = True


@contextlib.contextmanager
def interruptible_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest,
                          servers: ServersOfFixtures) -> Iterator[None]:
    """Inside the `with` block, replace an asynchronous fixture by one that is interrupted if a script fails."""
    function: Any = fixturedef.func
    wrap = _generator if inspect.isasyncgenfunction(function) else _coroutine \
        if inspect.iscoroutinefunction(function) else None
    if wrap is None:
        yield
        return
    bound = function
    if inspect.ismethod(function) and isinstance(request.instance, type(function.__self__)):
        bound = function.__func__.__get__(request.instance)  # as pytest itself binds methods
    fixturedef.func = functools.wraps(function)(wrap(bound, servers))  # type: ignore[misc]
    argnames = fixturedef.argnames
    try:
        yield
    finally:
        fixturedef.func = function  # type: ignore[misc]
        if fixturedef.argnames != argnames:
            fixturedef.argnames = argnames  # type: ignore[misc] # early versions of anyio add one, for their function


def _coroutine(function: Callable[..., Any], servers: ServersOfFixtures) -> Callable[..., Any]:
    async def fixture(*args: Any, **kwargs: Any) -> Any:
        return await servers.run_fixture_set_up(function, *args, **kwargs)
    return fixture


def _generator(function: Callable[..., AsyncGenerator[Any, None]], servers: ServersOfFixtures) -> Callable[..., Any]:
    async def fixture(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
        values = function(*args, **kwargs)
        try:
            value = await servers.run_fixture_set_up(values.__anext__)
        except StopAsyncIteration:
            return  # no value: the plugin reports that, as it reports a second yield
        try:
            yield value
        except BaseException:
            await values.aclose()
            raise
        if await servers.run_fixture_tear_down(values):
            yield
    return fixture
