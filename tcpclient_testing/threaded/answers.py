"""How an answer from the server's thread is waited for: as it suits the place where the question was asked.

- Where no event loop runs, the caller blocks.
- Where one runs that is not the server's, it must go on: the caller gets something to await. The question is asked at
  once, whether or not the answer is awaited.
- In the server's own thread nothing waits for that thread: the caller, a handler, awaits the coroutine itself.
"""

from __future__ import annotations

import asyncio
from asyncio import events
from collections.abc import Awaitable, Coroutine, Generator
from concurrent.futures import Future
from typing import Any, Callable, Optional

from tcpclient_testing.aio.loop_thread import LoopThread

__all__ = ["Awaiting", "answer"]

__unittest = True


class Awaiting:
    """The tasks of other loops that await an answer: of a failure they hear without being interrupted."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], int] = {}

    def includes(self, task: asyncio.Task[Any]) -> bool:
        """Whether `task` waits here; asked in its own thread."""
        return task in self._tasks

    def answer(self, future: Awaitable[Any]) -> Generator[Any, None, Any]:
        """Wait for `future`, as the task that runs."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks[task] = self._tasks.get(task, 0) + 1
        try:
            return (yield from future.__await__())
        finally:
            self._tasks[task] -= 1
            if not self._tasks[task]:
                del self._tasks[task]


def answer(thread: LoopThread, coroutine: Coroutine[Any, Any, None], timeout: Optional[float],
           late: Callable[[], TimeoutError], awaiting: Optional[Awaiting] = None) -> Awaitable[None]:
    """Have a coroutine run in `thread`, and wait until it has ended, or return what can be awaited for that.

    Raises the `TimeoutError` that `late` makes after `timeout` seconds. `awaiting` takes note of tasks that wait.
    """
    loop = events._get_running_loop()
    if loop is thread.loop:
        return coroutine  # a handler's
    future = thread.submit(coroutine)
    if loop is not None:
        return _Answer(future, timeout, late, awaiting or Awaiting())
    thread.answer(future, timeout, late)
    return _DONE


class _Answer:
    """What `join` returns where an event loop runs: to be awaited there. It is waited for already."""

    def __init__(self, future: Future[None], timeout: Optional[float], late: Callable[[], TimeoutError],
                 awaiting: Awaiting) -> None:
        self._future = future
        self._awaiting = awaiting
        self._timeout = timeout
        self._late = late

    def __await__(self) -> Generator[Any, None, None]:
        return self._awaiting.answer(self._wait())

    async def _wait(self) -> None:
        future = asyncio.wrap_future(self._future)
        try:
            done, _ = await asyncio.wait((future,), timeout=self._timeout)
        except asyncio.CancelledError:
            future.cancel()  # nobody asks any more
            raise
        if not done:
            future.cancel()
            raise self._late()
        future.result()


class _Done:
    """The answer that has come already; it may be awaited."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


_DONE = _Done()
