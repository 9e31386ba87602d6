"""What an event loop of asyncio waits for: the descriptors that it watches, and what each of them calls.

A selector loop has a map of what it watches. A Proactor, the default on Windows, has operations that the system carries
out in the background; their futures call what comes next. Loops that are not asyncio's don't show it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Optional

__all__ = ["Watched", "has_results", "is_loops_own", "watched", "watches"]

__unittest = True


class Watched(NamedTuple):
    """A descriptor that a loop watches, and what is called when something happens to it."""

    descriptor: int
    callbacks: list[Callable[..., Any]]


def watched(loop: Any) -> Optional[list[Watched]]:
    """Return what `loop` waits for; None if it doesn't show that."""
    selector: Any = getattr(loop, "_selector", None)
    if hasattr(selector, "get_map"):
        return [Watched(key.fd, [handle._callback for handle in key.data or ()
                                 if handle is not None and not handle.cancelled()])
                for key in selector.get_map().values()]
    operations = _operations(loop)
    if operations is None:
        return None
    return [Watched(_descriptor_of(sock), [callback for callback, _ in future._callbacks or ()])
            for future, _, sock, _ in operations]


def watches(loop: Any, descriptor: int) -> bool:
    """Whether `loop` shows that it waits for this descriptor."""
    selector: Any = getattr(loop, "_selector", None)
    if hasattr(selector, "get_map"):
        return descriptor in selector.get_map()
    return any(_descriptor_of(sock) == descriptor for _, _, sock, _ in _operations(loop) or ())


def has_results(loop: Any, sockets: Iterable[Any]) -> bool:
    """Whether the system has carried out an operation on one of these sockets, and `loop` hasn't noticed that yet.

    What a Proactor has received in this way is not in the socket any more. May be called from another thread.
    """
    operations = _operations(loop)
    if not operations:
        return False
    descriptors = {sock.fileno() for sock in sockets} - {-1}
    return any(_descriptor_of(sock) in descriptors and not getattr(overlapped, "pending", True)
               for _, overlapped, sock, _ in operations)


def _operations(loop: Any) -> Optional[list[tuple[Any, Any, Any, Any]]]:
    """Return what a Proactor has under way: future, operation, socket, and what makes the result; None for others."""
    operations = getattr(getattr(loop, "_proactor", None), "_cache", None)
    return list(operations.values()) if isinstance(operations, dict) else None


def _descriptor_of(waited_for: Any) -> int:
    """Return the descriptor of what an operation is about; -1 if it is closed, or a process: then it is a number."""
    try:
        return int(waited_for.fileno())
    except (AttributeError, ValueError):
        return -1


def is_loops_own(future: asyncio.Future[Any]) -> bool:
    """Whether a task or future belongs to the loop itself, and tells nobody anything by its outcome.

    A Proactor has a task for each client that it waits for, and a future of a kind of its own for each operation. After
    a reset such a future may keep an exception that its transport, which is closed by then, never asks for.
    """
    if isinstance(future, asyncio.Task):
        return getattr(future.get_coro(), "__qualname__", "").endswith("Proactor.accept.<locals>.accept_coro")
    return type(future) is not asyncio.Future and hasattr(future.get_loop(), "_proactor")
