"""Ways to give a test a virtual loop: a loop factory, an event loop policy, and pytest's plugins through their policy.

pytest-asyncio (any version) and anyio ask the event loop policy for a loop while they set up a fixture or call the
test, unless the suite gives them a loop factory. During that time the policy returns a virtual loop.

Two other ways were not taken:

- pytest-asyncio's hook for loop factories: some versions lack it, and no plugin can implement it for some tests only
- pytest-asyncio's fixture `event_loop_policy`: it has the scope of the session
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
from asyncio import events
from collections.abc import Iterator
from typing import Any, Optional

from tcpclient_testing.errors import ScriptError

from .loop import VirtualClockEventLoop

__all__ = ["current_policy", "virtual_loops_of", "virtual_loop_factory", "virtual_loops", "virtual_policy"]

__unittest = True

_NO_POLICY = (
    "event loop policies are deprecated from Python 3.14 on; pass loop_factory=VirtualClockEventLoop to whatever runs "
    "the loop (asyncio.run, asyncio.Runner, IsolatedAsyncioTestCase)"
)


def current_policy() -> Any:
    """Return the current event loop policy, without the warning that Python 3.14 gives for asking."""
    ask = getattr(events, "_get_event_loop_policy", None) or asyncio.get_event_loop_policy
    return ask()


@contextlib.contextmanager
def virtual_loops_of(*policies: Any) -> Iterator[None]:
    """Inside the `with` block, these policies make virtual loops in the current thread, and their own in others."""
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


def virtual_loop_factory() -> VirtualClockEventLoop:
    """Return a new loop on virtual time. Pass it as a `loop_factory` (asyncio, anyio, pytest-asyncio).

    As the class attribute of a test case, write `loop_factory = VirtualClockEventLoop`: a function would become a
    method there.
    """
    return VirtualClockEventLoop()


@contextlib.contextmanager
def virtual_loops(case: Optional[object] = None) -> Iterator[None]:
    """Make the event loops that are created inside the `with` block virtual. Use it in the `run()` of a mixin:

        def run(self, result=None):
            with virtual_loops(self):
                return super().run(result)

    `case` is the test case. Inside the block,

    - its `loop_factory` is set, from Python 3.13 on, if it has that attribute;
    - else the event loop policy is replaced.

    Raises ScriptError

    - if the case has chosen another loop itself;
    - on Python 3.14 and newer, where policies are deprecated, if `case` is None or has no `loop_factory`. There, pass
      `loop_factory=VirtualClockEventLoop` to `asyncio.run()` or `asyncio.Runner()`.
    """
    if sys.version_info >= (3, 13) and hasattr(case, "loop_factory"):
        with _loop_factory_of(case):
            yield
    elif sys.version_info >= (3, 14):
        raise ScriptError(_NO_POLICY)
    else:
        previous = asyncio.get_event_loop_policy()
        ours = virtual_policy(previous)
        asyncio.set_event_loop_policy(ours)
        try:
            yield
        finally:
            if asyncio.get_event_loop_policy() is ours:  # else other code has set a policy of its own: keep that
                asyncio.set_event_loop_policy(previous)


@contextlib.contextmanager
def _loop_factory_of(case: Any) -> Iterator[None]:
    chosen = case.loop_factory
    if not (
        chosen is None
        or chosen is virtual_loop_factory
        or (isinstance(chosen, type) and issubclass(chosen, VirtualClockEventLoop))
    ):
        raise ScriptError(
            f"virtual time needs an event loop of this library, but {type(case).__name__}.loop_factory is {chosen!r}; "
            "remove one of the two"
        )
    before = {name: value for name, value in vars(case).items() if name == "loop_factory"}
    case.loop_factory = chosen or VirtualClockEventLoop
    try:
        yield
    finally:
        vars(case).pop("loop_factory", None)
        vars(case).update(before)


def virtual_policy(previous: Optional[asyncio.AbstractEventLoopPolicy] = None) -> asyncio.AbstractEventLoopPolicy:
    """Return an event loop policy whose new loops are virtual, and which otherwise does what `previous` does.

    For Python 3.9 to 3.13, and for tools that want a policy (pytest-asyncio's fixture `event_loop_policy`). Without
    `previous` it builds on the present policy. Raises ScriptError on Python 3.14 and newer.
    """
    if sys.version_info >= (3, 14):
        raise ScriptError(_NO_POLICY)
    else:  # noqa: RET506 - mypy skips the branch of another version, but calls what follows a raise unreachable
        base = asyncio.get_event_loop_policy() if previous is None else previous

        class VirtualPolicy(asyncio.AbstractEventLoopPolicy):
            """Makes virtual loops, and leaves the rest to the policy `base`."""

            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                return VirtualClockEventLoop()

            def get_event_loop(self) -> asyncio.AbstractEventLoop:
                return base.get_event_loop()

            def set_event_loop(self, loop: Optional[asyncio.AbstractEventLoop]) -> None:
                base.set_event_loop(loop)

            def get_child_watcher(self) -> Any:
                return base.get_child_watcher()

            def set_child_watcher(self, watcher: Any) -> None:
                base.set_child_watcher(watcher)

        return VirtualPolicy()
