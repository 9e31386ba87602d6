"""Which servers belong together: those whose `with` blocks are open at the same time, in one thread.

    with --> in use, beside those before it --> left

Where an event loop runs, it is one task: the tasks of a thread have nothing to do with each other.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .server import ThreadedMockTCPServer

__all__ = ["servers_in_use"]

__unittest = True


class _Here(threading.local):
    """The servers of the present thread; they are forgotten with it, and with the task."""

    def __init__(self) -> None:
        self.of_thread: list[ThreadedMockTCPServer] = []
        self.of_tasks: weakref.WeakKeyDictionary[asyncio.Task[Any], list[ThreadedMockTCPServer]] = \
            weakref.WeakKeyDictionary()


_here = _Here()


def servers_in_use() -> list[ThreadedMockTCPServer]:
    """Return the servers whose blocks the present thread, or task, is in: the list itself, which grows and shrinks."""
    task = None if events._get_running_loop() is None else asyncio.current_task()
    return _here.of_thread if task is None else _here.of_tasks.setdefault(task, [])
