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

__all__ = ["answer"]

__unittest = True


def answer(thread: LoopThread, coroutine: Coroutine[Any, Any, None], timeout: Optional[float],
           late: Callable[[], TimeoutError]) -> Awaitable[None]:
    """Have a coroutine run in `thread`, and wait until it has ended, or return what can be awaited for that.

    Raises the `TimeoutError` that `late` makes after `timeout` seconds.
    """
    loop = events._get_running_loop()
    if loop is thread.loop:
        return coroutine  # a handler's
    future = thread.submit(coroutine)
    if loop is not None:
        return _Answer(future, timeout, late)
    thread.answer(future, timeout, late)
    return _DONE


class _Answer:
    """What `join` returns where an event loop runs: to be awaited there. It is waited for already."""

    def __init__(self, future: Future[None], timeout: Optional[float], late: Callable[[], TimeoutError]) -> None:
        self._future = future
        self._timeout = timeout
        self._late = late

    def __await__(self) -> Generator[Any, None, None]:
        return self._wait().__await__()

    async def _wait(self) -> None:
        future = asyncio.wrap_future(self._future)
        done, _ = await asyncio.wait((future,), timeout=self._timeout)
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
