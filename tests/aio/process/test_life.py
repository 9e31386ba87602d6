"""What in this process can still act by itself."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import functools
import socket
import subprocess
import sys
import threading
import unittest
from typing import Any

from tcpclient_testing.aio.process.life import idle_workers, life_in, life_outside
from tcpclient_testing.aio.process.quiescence import own_thread
from tcpclient_testing.virtual_time.loop import VirtualClockEventLoop


class OutsideTests(unittest.TestCase):
    """`life_outside`."""

    def test_nothing(self) -> None:
        """A process with one thread, and threads that are idle or the library's own."""
        end = threading.Event()
        threads = [threading.Thread(target=end.wait), own_thread(threading.Thread(target=end.wait))]
        for thread in threads:
            thread.start()
        self.assertFalse(life_outside(threads[:1]))
        self.assertTrue(life_outside())
        end.set()
        for thread in threads:
            thread.join()

    def test_child(self) -> None:
        """A child process counts until it has ended."""
        code = "import sys; sys.stdin.read()"
        with subprocess.Popen([sys.executable, "-S", "-E", "-c", code], stdin=subprocess.PIPE):
            self.assertTrue(life_outside())
        self.assertFalse(life_outside())


class InLoopTests(unittest.IsolatedAsyncioTestCase):
    """`life_in`, and `idle_workers`."""

    def lives(self) -> bool:
        """Whether something lives in the running loop beside this test."""
        current = asyncio.current_task()
        return life_in(asyncio.get_running_loop(), lambda task: task is current)

    async def test_nothing(self) -> None:
        """A loop that only has what the library and asyncio need; a cancelled timer is nothing."""
        loop = asyncio.get_running_loop()
        self.assertFalse(self.lives())
        loop.call_later(60, print).cancel()
        sleeps = asyncio.ensure_future(asyncio.sleep(60))
        await asyncio.sleep(0)
        sleeps.cancel()
        await asyncio.sleep(0)
        self.assertFalse(self.lives())

    async def test_task(self) -> None:
        """A task counts until it has ended."""
        task = asyncio.ensure_future(asyncio.sleep(60))
        self.assertTrue(self.lives())
        task.cancel()
        await asyncio.wait([task])
        self.assertFalse(self.lives())

    async def test_timer(self) -> None:
        """A timer counts, also one whose callback is wrapped."""
        for callback in (print, functools.partial(functools.partial(print, 1), 2), self.lives):
            with self.subTest(callback=callback):
                timer = asyncio.get_running_loop().call_later(60, callback)
                self.assertTrue(self.lives())
                timer.cancel()
                self.assertFalse(self.lives())

    async def test_reader_and_transport(self) -> None:
        """A reader counts, and so does the transport of a client."""
        loop = asyncio.get_running_loop()
        one, other = socket.socketpair()
        with one, other:
            with contextlib.suppress(NotImplementedError):  # a Proactor
                loop.add_reader(one, print)
                self.assertTrue(self.lives())
                loop.remove_reader(one)
            self.assertFalse(self.lives())
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=other)
            self.assertTrue(self.lives())
            transport.close()
            await asyncio.sleep(0)
        self.assertFalse(self.lives())

    async def test_unknown_loop(self) -> None:
        """A loop that doesn't show what it has may have anything."""
        class Opaque:
            pass

        self.assertTrue(life_in(Opaque(), lambda task: True))

    async def test_workers(self) -> None:
        """Workers are idle if no job is queued or under way."""
        loop = asyncio.get_running_loop()
        self.assertEqual(list(idle_workers(loop)), [])
        executor = concurrent.futures.ThreadPoolExecutor(1)
        loop.set_default_executor(executor)
        end = threading.Event()
        job: Any = loop.run_in_executor(None, end.wait)
        self.assertEqual(list(idle_workers(loop)), [])
        end.set()
        await job
        while not idle_workers(loop):
            await asyncio.sleep(0)
        self.assertEqual(len(idle_workers(loop)), 1)

    def test_workers_on_virtual_time(self) -> None:
        """There, a worker is idle as soon as its job's result is there: its own count comes a moment later."""
        async def main() -> None:
            end = threading.Event()
            job: Any = loop.run_in_executor(None, end.wait)
            self.assertEqual(list(idle_workers(loop)), [])
            end.set()
            await job
            executor: Any = loop._default_executor
            while not executor._idle_semaphore.acquire(blocking=False):  # as if it had not counted itself yet
                await asyncio.sleep(0)
            self.assertEqual(len(idle_workers(loop)), 1)
            executor._idle_semaphore.release()

        loop = VirtualClockEventLoop()
        self.addCleanup(loop.close)
        loop.run_until_complete(main())


if __name__ == "__main__":
    unittest.main()
