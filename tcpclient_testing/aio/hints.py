"""Advice for a test that awaits a step before it has started its client, so that no client can connect."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["awaited_too_early"]

__unittest = True


def awaited_too_early(runtime: Runtime) -> Optional[str]:
    """The advice, if no client has connected in time and nothing is running that could be the client; else None.

    Nothing is running if

    - the body of the test has not ended,
    - each task of the loop waits for a step, and
    - no other thread and no child process lives.

    Call this when the verdict is made: the waiting tasks must not have received it yet.
    """
    failure = runtime.session.failure
    if failure is None or not failure.overdue or runtime.body is None or runtime.threaded:
        return None
    if failure.step is None or failure.step.method != "expect_connect" or failure.step.conversation.accepted:
        return None
    tasks = asyncio.all_tasks(runtime.loop)
    if not tasks or not all(runtime.waiters.includes(task) for task in tasks):
        return None
    from tcpclient_testing.aio.process.quiescence import child_lives, living_thread
    if living_thread() is not None or child_lives():
        return None
    return ("the test waits for a client, but nothing is running that could connect: start the client before awaiting "
            "a step (asyncio.create_task), or await the step after that")
