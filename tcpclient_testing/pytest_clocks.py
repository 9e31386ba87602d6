"""The loops of tests on virtual time under pytest: made where the plugin for asynchronous tests makes its own.

pytest-asyncio (any version) and anyio ask the event loop policy for a loop, while they set up a fixture or call the
test, unless the suite gives them a loop factory. For that long the policy answers with a virtual loop. This needs
neither pytest-asyncio's hook for loop factories, which some versions lack and which no plugin can implement for some
tests only, nor its fixture `event_loop_policy`, which is the session's.
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
    """Return the policy that makes event loops now; without the warning that Python 3.14 gives for the question."""
    ask = getattr(events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    return ask()


@contextlib.contextmanager
def virtual_loops_of(*policies: Any) -> Iterator[None]:
    """Inside the `with` block, let these policies make virtual loops for the present thread, and others as before."""
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
