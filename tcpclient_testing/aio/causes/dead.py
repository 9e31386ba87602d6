"""Finds tasks that have ended with an exception which nobody has taken."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Collection
from typing import Any, Optional

__all__ = ["all_tasks", "dead_tasks", "is_dead"]

__unittest = True

_TRIES = 100


def all_tasks() -> Optional[list[Any]]:
    """Return the tasks that there are, ended ones included; None if asyncio (3.14) doesn't keep them in a set."""
    kept = getattr(asyncio.tasks, "_all_tasks", getattr(asyncio.tasks, "_scheduled_tasks", None))
    if kept is None:
        return None
    for _ in range(_TRIES):
        with contextlib.suppress(RuntimeError):  # another thread has just begun a task
            return list(kept)
    return None


def dead_tasks() -> Collection[asyncio.Future[Any]]:
    """Return the tasks that are dead by now, as far as asyncio keeps them."""
    found = [task for task in all_tasks() or () if is_dead(task)]
    return weakref.WeakSet(found) if found else ()


def is_dead(future: Any) -> bool:
    """Whether a future has an exception that nobody has taken."""
    return bool(getattr(future, "_log_traceback", False))
