"""The asynchronous fixtures of a test: while they are set up and torn down, they are the body of the test.

A fixture function is put in the place of another for as long as it takes the plugin for asynchronous tests to look at
it. Old versions of pytest-asyncio (0.23, say) have looked when tests are collected: with them, fixtures are not
interrupted.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncGenerator, Iterator
from typing import Any, Callable

import pytest

from .pytest_servers import ServersOfFixtures

__all__ = ["interruptible_fixture"]

__unittest = True
__tracebackhide__ = True


@contextlib.contextmanager
def interruptible_fixture(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest,
                          servers: ServersOfFixtures) -> Iterator[None]:
    """Inside the `with` block, let an asynchronous fixture be one that is interrupted when a script has failed."""
    function: Any = fixturedef.func
    wrap = _generator if inspect.isasyncgenfunction(function) else _coroutine \
        if inspect.iscoroutinefunction(function) else None
    if wrap is None:
        yield
        return
    bound = function
    if inspect.ismethod(function) and isinstance(request.instance, type(function.__self__)):
        bound = function.__func__.__get__(request.instance)  # as pytest does itself, of methods
    fixturedef.func = functools.wraps(function)(wrap(bound, servers))  # type: ignore[misc]
    try:
        yield
    finally:
        fixturedef.func = function  # type: ignore[misc]


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
            return  # the plugin says what is wrong with it, as with one that yields twice
        try:
            yield value
        except BaseException:
            await values.aclose()
            raise
        if await servers.run_fixture_tear_down(values):
            yield
    return fixture
