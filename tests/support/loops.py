"""The event loop that the asynchronous tests run on: asyncio's, or the one that the environment names.

``TCPCLIENT_TESTING_TEST_LOOP=uvloop python -m unittest`` runs them on uvloop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import unittest
from typing import Any, Optional, TypeVar

from tcpclient_testing.virtual_time.policies import virtual_loops

__all__ = ["LOOP", "AsyncTestCase", "TimelessTestCase", "new_event_loop", "on_uvloop", "timeless"]

_T = TypeVar("_T")

#: "", or the name of a loop.
LOOP = os.environ.get("TCPCLIENT_TESTING_TEST_LOOP", "")
if LOOP not in ("", "asyncio", "uvloop"):
    raise ValueError(f"TCPCLIENT_TESTING_TEST_LOOP is asyncio or uvloop, not {LOOP!r}")
on_uvloop = LOOP == "uvloop"


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of the kind that the tests run on."""
    if on_uvloop:
        import uvloop
        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
        return loop
    return asyncio.new_event_loop()


def timeless(test: _T) -> _T:
    """Mark a test method, or a class, of a `TimelessTestCase` in which time-outs expire without being waited for.

    It runs on virtual time: the clock jumps when nothing else can happen, so that even a short time-out is none that a
    busy machine could miss. Clients in threads and processes take real time all the same.
    """
    test.timeless = True  # type: ignore[attr-defined]
    return test


class TimelessTestCase(unittest.IsolatedAsyncioTestCase):
    """An `IsolatedAsyncioTestCase` some of whose tests are `timeless`."""

    timeless = False

    def run(self, result: Optional[unittest.TestResult] = None) -> Any:
        """Run the test, on virtual time if it is marked."""
        if not (self.timeless or getattr(getattr(self, self._testMethodName), "timeless", False)):
            return super().run(result)
        with virtual_loops(self):
            return super().run(result)


class AsyncTestCase(TimelessTestCase):
    """An `IsolatedAsyncioTestCase` on that loop; on uvloop time is always real."""

    if on_uvloop and sys.version_info >= (3, 13):
        loop_factory = staticmethod(new_event_loop)

    def run(self, result: Optional[unittest.TestResult] = None) -> Any:
        """Run the test, with the policy that makes such loops where unittest takes no factory (before 3.13)."""
        if not on_uvloop:
            return super().run(result)
        run = super(TimelessTestCase, self).run
        if sys.version_info >= (3, 13):
            return run(result)
        import uvloop
        before = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        try:
            return run(result)
        finally:
            asyncio.set_event_loop_policy(before)
