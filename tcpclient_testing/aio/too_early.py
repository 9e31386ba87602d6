"""Advice for a test that awaits a step before it has started its client, and so waits for itself."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .runtime import Runtime

__all__ = ["awaited_too_early"]

__unittest = True


def awaited_too_early(runtime: Runtime) -> Optional[str]:
    """The advice, if no client has come in time, and nothing runs in which there could be one.

    That is so where the body has not ended, each task of the loop waits for a step, and no other thread and no child
    process lives. It is asked when the verdict is made, before those that wait have been told.
    """
    failure = runtime.session.failure
    if failure is None or not failure.overdue or runtime.body is None or runtime.threaded:
        return None
    if failure.step is None or failure.step.method != "expect_connect" or failure.step.conversation.accepted:
        return None
    tasks = asyncio.all_tasks(runtime.loop)
    if not tasks or not all(runtime.waiters.includes(task) for task in tasks):
        return None
    from .quiet import child_lives, living_thread
    if living_thread() is not None or child_lives():
        return None
    return ("the test waits for the client, and nothing runs that could be one: start it before awaiting a step "
            "(asyncio.create_task), or await the step after")
