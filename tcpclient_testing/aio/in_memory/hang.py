"""Reports a hang at once, on virtual time: a test that waits for what can't happen any more.

With sockets, a client somewhere may be just about to send. In memory there is nothing but the loop. So if no callback
is ready, no timer is set, no socket is watched, and no other thread and no child process lives, everything is over:

    watching --the loop says so, and the script is not done--> the script fails
       `--stop--> at rest

A test that waits for something else, when the script is done and every client has closed, is left alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Optional, cast

from tcpclient_testing.engine.mismatches import Mismatch

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import ServerContext
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.virtual_time.loop import VirtualClockEventLoop

__all__ = ["HangWatch"]

__unittest = True

_OVER = "nothing can happen any more: no callback is ready, and no timer is set"


class HangWatch:
    """Watches the loop of one server in memory, which runs on virtual time."""

    def __init__(self, context: ServerContext) -> None:
        self._context = context
        self._loop = cast("VirtualClockEventLoop", context.loop)

    def start(self) -> None:
        """Begin to watch."""
        self._loop.look_before_jumps(self._look)

    def stop(self) -> None:
        """Watch no more. Idempotent."""
        self._loop.look_no_more(self._look)

    def _look(self) -> None:
        context = self._context
        if context.closed or context.environment.over or not self._loop.nothing_is_left():
            return
        step = context.session.first_unsatisfied()
        if step is not None:
            context.fail(context.session.connections.of(step.cursor.number), step, Mismatch(_OVER))
            return
        waits = self._find_open()
        if waits is not None:
            context.fail(waits, None, Mismatch(f"the script is complete, but the client is still connected; {_OVER}"))

    def _find_open(self) -> Optional[Conversation]:
        return next((each for each in self._context.session.connections.all
                     if each.inbox.accepted and not (each.inbox.ended or each.inbox.closed)), None)
