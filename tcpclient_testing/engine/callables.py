"""Callables of a test, which the server calls later: each runs in a copy of the context in which it was written."""

from __future__ import annotations

from contextvars import Context, copy_context
from typing import Any, Callable

__all__ = ["InContext", "in_context"]

__unittest = True


class InContext:
    """`function`, to be called in `context`; its attributes are the function's.

    A coroutine that the function returns runs in the task's context: make that task in `context`.
    """

    __slots__ = ("function", "context")

    def __init__(self, function: Callable[..., Any], context: Context) -> None:
        self.function = function
        self.context = context

    def __call__(self, *args: Any) -> Any:
        return self.context.run(self.function, *args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.function, name)

    def __repr__(self) -> str:
        return repr(self.function)


def in_context(function: Callable[..., Any]) -> InContext:
    """Return a callable that calls `function` in a copy of the current context (see `contextvars`)."""
    return InContext(function, copy_context())
