"""Gives tests on virtual time their event loops under pytest, through the event loop policy.

pytest-asyncio (any version) and anyio ask the event loop policy for a loop while they set up a fixture or call the
test, unless the suite gives them a loop factory. During that time the policy returns a virtual loop.

Two other ways were not taken:

- pytest-asyncio's hook for loop factories: some versions lack it, and no plugin can implement it for some tests only
- pytest-asyncio's fixture `event_loop_policy`: it has the scope of the session
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from asyncio import events
from collections.abc import Iterator
from typing import Any

__all__ = ["current_policy", "virtual_loops_of"]

__unittest = True


def current_policy() -> Any:
    """Return the current event loop policy, without the warning that Python 3.14 gives for asking."""
    ask = getattr(events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    return ask()


@contextlib.contextmanager
def virtual_loops_of(*policies: Any) -> Iterator[None]:
    """Inside the `with` block, these policies make virtual loops in the current thread, and their own in others."""
    from .aio.clock import VirtualClockEventLoop
    thread = threading.get_ident()
    with contextlib.ExitStack() as stack:
        for policy in {id(each): each for each in policies}.values():
            stack.enter_context(_virtual_loops_of(policy, thread, VirtualClockEventLoop))
        yield


@contextlib.contextmanager
def _virtual_loops_of(policy: Any, thread: int, virtual: type[asyncio.AbstractEventLoop]) -> Iterator[None]:
    before = {name: value for name, value in vars(policy).items() if name == "new_event_loop"}
    make = policy.new_event_loop

    def new_event_loop() -> Any:
        return virtual() if threading.get_ident() == thread else make()

    policy.new_event_loop = new_event_loop
    try:
        yield
    finally:
        del policy.new_event_loop
        vars(policy).update(before)
