"""Advises a test that waits for a client, and has not started one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

if TYPE_CHECKING:
    from .causes.lookout import Lookout
    from .context import ServerContext
    from .waiting import Waiters

__all__ = ["awaited_too_early"]

__unittest = True

# What to do, by whether the server is in a thread, and whether the test asks for a step, and not in `join()`.
_ADVICE = {
    (False, True): "drop the await, since a step need not be awaited; or start the client first, with "
                   "asyncio.create_task()",
    (False, False): "start the client before join(), with asyncio.create_task()",
    (True, True): "drop .result(), since a step need not be waited for; or start the client in a thread first",
    (True, False): "start the client in a thread before join(), or run it there",
}


def awaited_too_early(context: ServerContext, waiters: Waiters, lookout: Optional[Lookout]) -> Optional[str]:
    """Return advice, if no client has connected in time and nothing is running that could be the client; else None.

    Nothing is running if no other thread and no child process lives, and, for a server in the test's loop, each task of
    the loop waits for a step.

    Call this when the verdict is made, and the body of the test has not ended: the waiting tasks must not have received
    the verdict yet.
    """
    failure = context.environment.failure
    if failure is None or not failure.overdue or context.outsiders:
        return None
    if failure.number is None or failure.step is None or not failure.step.connects \
            or context.session.connections.of(failure.number).inbox.accepted:
        return None
    if lookout is None or not lookout.nobody_could_connect():
        return None
    if not context.threaded:
        tasks = asyncio.all_tasks(context.loop)
        if not tasks or not all(waiters.includes(task) for task in tasks):
            return None
    advice = _ADVICE[context.threaded, hasattr(failure.step, "asked")]
    return f"the test waits for a client, but nothing is running that could connect: {advice}"
