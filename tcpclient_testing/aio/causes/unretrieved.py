"""Keeps what asyncio says of exceptions that nobody has retrieved, until it is known whether a report names them.

A task that nobody refers to is collected as soon as it has ended. asyncio then calls the loop's exception handler.
While servers run in a loop, this module's handler is called first:

    called by asyncio -> kept -> a report names the exception: dropped
                              -> the last server of the loop is closed: passed on to the handler that was there before
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Collection
from typing import Any

__all__ = ["Unretrieved"]

__unittest = True

_of_loops: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Unretrieved] = weakref.WeakKeyDictionary()


class Unretrieved:
    """The exceptions of tasks of one `loop` that nobody can take any more. All servers of the loop share it."""

    @classmethod
    def of(cls, loop: asyncio.AbstractEventLoop) -> Unretrieved:
        """Return that of a loop. Call `acquire` when the server begins to run, and `release` when it is closed."""
        found = _of_loops.get(loop)
        if found is None:
            found = _of_loops[loop] = cls(loop)
        return found

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._servers: set[object] = set()
        self._kept: list[dict[str, Any]] = []
        self._before: Any = None

    def acquire(self, server: object) -> None:
        """A server, known by this, begins to run."""
        loop = self._loop()
        first = not self._servers
        self._servers.add(server)
        if first and loop is not None:
            self._before = loop.get_exception_handler()
            loop.set_exception_handler(self._handle)

    def release(self, server: object) -> None:
        """A server is closed. After the last one, pass on what no report has named. Idempotent."""
        self._servers.discard(server)
        loop = self._loop()
        if self._servers or loop is None:
            return
        if loop.get_exception_handler() == self._handle:  # else the test has set its own: that calls ours, or doesn't
            loop.set_exception_handler(self._before)
        kept, self._kept = self._kept, []
        for context in kept:
            self._pass_on(loop, context)

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._servers and isinstance(context.get("task", context.get("future")), asyncio.Future) \
                and isinstance(context.get("exception"), Exception):
            self._kept.append(context)
        else:
            self._pass_on(loop, context)

    def _pass_on(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._before is None:
            loop.default_exception_handler(context)
        else:
            self._before(loop, context)

    def exceptions(self) -> list[BaseException]:
        """Return the exceptions that are kept."""
        return [context["exception"] for context in self._kept]

    def forget(self, exceptions: Collection[BaseException]) -> None:
        """A report names these exceptions."""
        self._kept = [context for context in self._kept
                      if not any(context["exception"] is each for each in exceptions)]
