"""Finding out when a loop is at rest."""

from __future__ import annotations

import asyncio
import socket
import unittest
from typing import Any, Callable

from tcpclient_testing.aio.process.rest import when_at_rest
from tests.support.platforms import needs_readers


def after_turns(count: int, callback: Callable[[], Any]) -> None:
    """Call `callback` after so many turns of the running loop."""
    if count:
        asyncio.get_running_loop().call_soon(after_turns, count - 1, callback)
    else:
        callback()


class WhenAtRestTests(unittest.IsolatedAsyncioTestCase):
    """`when_at_rest`."""

    async def rests(self, bound: float = 60.0) -> None:
        """Wait until the loop is at rest."""
        future = asyncio.get_running_loop().create_future()
        when_at_rest(asyncio.get_running_loop(), bound, lambda: future.set_result(None))
        await future

    async def test_callbacks_come_first(self) -> None:
        """However long a chain of callbacks is, the loop is at rest only when it has ended."""
        for count in (0, 1, 2, 50):
            with self.subTest(count=count):
                done: list[int] = []
                after_turns(count, lambda: done.append(1))  # noqa: B023
                await self.rests()
                self.assertEqual(done, [1])

    @needs_readers
    async def test_ready_sockets_come_first(self) -> None:
        """What a callback has sent, and what is sent because of that, is received before the loop is at rest."""
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other:
            got: list[bytes] = []

            def passes_on() -> None:
                loop.remove_reader(other)
                got.append(other.recv(1))
                other.send(b"2")

            loop.add_reader(other, passes_on)
            loop.add_reader(one, lambda: (got.append(one.recv(1)), loop.remove_reader(one)))
            after_turns(3, lambda: one.send(b"1"))
            await self.rests()
            self.assertEqual(got, [b"1", b"2"])

    async def test_several_waits_at_once(self) -> None:
        """Those that wait don't keep one another waiting; timers that are not due don't count either."""
        timer = asyncio.get_running_loop().call_later(60, int)
        await asyncio.wait_for(asyncio.gather(*(self.rests() for _ in range(5))), 30)
        timer.cancel()

    async def test_bound_when_the_loop_never_rests(self) -> None:
        """A loop that spins is given the bound, and no more; a cancelled callback is nothing that is ready."""
        spins = asyncio.ensure_future(self._spin())
        await asyncio.wait_for(self.rests(0.01), 30)
        spins.cancel()
        asyncio.get_running_loop().call_soon(int).cancel()
        await self.rests()

    async def _spin(self) -> None:
        while True:
            await asyncio.sleep(0)


if __name__ == "__main__":
    unittest.main()
