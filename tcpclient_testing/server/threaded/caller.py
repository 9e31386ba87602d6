"""What the thread that leaves a server can do meanwhile: nothing if it blocks, or if its loop has nothing to do."""

from __future__ import annotations

import asyncio
import threading
from asyncio import events
from collections.abc import Collection
from typing import Optional

from tcpclient_testing.aio.process.life import idle_workers
from tcpclient_testing.aio.process.life_watch import LifeWatch

from .loop_thread import idle_threads, server_threads

__all__ = ["Caller"]

__unittest = True


class Caller:
    """The calling thread, which leaves a server: it waits in its event loop, or blocks if `blocking`."""

    def __init__(self, *, blocking: bool) -> None:
        self._thread = threading.current_thread()
        self._waits = blocking
        self._loop = None if blocking else events._get_running_loop()
        self._watch: Optional[LifeWatch] = None
        if self._loop is not None:
            leaver = asyncio.current_task()
            self._watch = LifeWatch(self._loop, self._found_nothing, wanted=lambda: True,
                                    idle=lambda: [*server_threads(), *idle_workers(self._loop)],
                                    ignored=lambda task: task is leaver)
            self._watch.start()

    def _found_nothing(self) -> None:
        self._waits = True

    def idle(self) -> Collection[threading.Thread]:
        """Return the threads that can't connect to a server now. The server's thread calls this."""
        return [*idle_threads(self._thread), *idle_workers(self._loop)] if self._waits else ()

    def left(self) -> None:
        """The server was left."""
        if self._watch is not None:
            self._watch.stop()
