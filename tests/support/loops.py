"""The event loop that the asynchronous tests run on: asyncio's, or the one that the environment names.

``TCPCLIENT_TESTING_TEST_LOOP=uvloop python -m unittest`` runs them on uvloop.
"""

from __future__ import annotations

import asyncio
import os
import sys
import unittest
from typing import Any, Optional

__all__ = ["LOOP", "AsyncTestCase", "new_event_loop", "on_uvloop"]

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


class AsyncTestCase(unittest.IsolatedAsyncioTestCase):
    """An `IsolatedAsyncioTestCase` on that loop."""

    if on_uvloop and sys.version_info >= (3, 13):
        loop_factory = staticmethod(new_event_loop)

    def run(self, result: Optional[unittest.TestResult] = None) -> Any:
        """Run the test, with the policy that makes such loops where unittest takes no factory (before 3.13)."""
        if not on_uvloop or sys.version_info >= (3, 13):
            return super().run(result)
        import uvloop
        before = asyncio.get_event_loop_policy()
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
        try:
            return super().run(result)
        finally:
            asyncio.set_event_loop_policy(before)
