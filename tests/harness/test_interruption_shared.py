"""Tasks in which a framework runs the parts of a test one after another: a body that has ended is not cancelled."""

from __future__ import annotations

import asyncio
import types
import unittest
import unittest.mock
from collections.abc import AsyncGenerator
from typing import Any

from tcpclient_testing.harness import interruption as body_module
from tcpclient_testing.harness.interruption import Body
from tests.support.loops import AsyncTestCase, timeless

# A runner like those of unittest and anyio: it is known by the module in which it lives.
RUNNER = types.ModuleType("anyio.imitation")
exec("async def run_all(parts):\n    for part in parts:\n        await part()", RUNNER.__dict__)


@timeless
class SharedTaskTests(AsyncTestCase):
    """Each test runs two parts in one task; the first is made a body."""

    def setUp(self) -> None:
        """Interrupt sooner."""
        for name, value in ("_PATIENCE", 0.01), ("_INSISTENCE", 0.01):
            patch = unittest.mock.patch.object(body_module, name, value)
            patch.start()
            self.addCleanup(patch.stop)

    def begin(self) -> None:
        """Make the running task a body, and interrupt it."""
        task = asyncio.current_task()
        assert task is not None
        self.body = Body(task, lambda _: False)
        self.body.interrupt()

    async def rest(self) -> None:
        """Run for longer than it takes until the body is interrupted."""
        await asyncio.sleep(0.05)
        self.rested = True

    async def run_parts(self, *parts: Any) -> None:
        """Run the parts in one task."""
        self.rested = False
        await asyncio.wait_for(asyncio.ensure_future(RUNNER.run_all(parts)), 20)

    async def test_part_that_runs_is_cancelled(self) -> None:
        """The part that began the body waits for ever."""
        async def part() -> None:
            self.begin()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await self.body.absorb()
        await self.run_parts(part, self.rest)
        self.assertTrue(self.body.interrupted and self.rested)

    async def test_part_that_has_ended_is_not(self) -> None:
        """The next part is left alone."""
        async def part() -> None:
            self.begin()
        await self.run_parts(part, self.rest)
        self.assertEqual((self.body.interrupted, self.rested), (False, True))

    async def test_part_of_a_generator_that_has_ended_is_not(self) -> None:
        """A fixture has given its value; its frame lives on."""
        async def fixture() -> AsyncGenerator[None, None]:
            self.begin()
            yield
        values = fixture()
        await self.run_parts(values.__anext__, self.rest)
        self.assertEqual((self.body.interrupted, self.rested), (False, True))
        await values.aclose()

    async def test_part_of_a_generator_that_runs_is_cancelled(self) -> None:
        """A fixture waits for ever before its value."""
        async def fixture() -> AsyncGenerator[None, None]:
            self.begin()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                await self.body.absorb()
            yield
        values = fixture()
        await self.run_parts(values.__anext__, self.rest)
        self.assertTrue(self.body.interrupted and self.rested)
        await values.aclose()

    async def test_body_that_was_dropped_is_not_cancelled(self) -> None:
        """Another one has taken its place."""
        self.begin()
        self.body.drop()
        await asyncio.sleep(0.05)
        self.assertFalse(self.body.interrupted)


if __name__ == "__main__":
    unittest.main()
