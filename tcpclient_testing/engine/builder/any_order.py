"""The script methods `any_order`, for what may come in any order, and `hand_over`, which ends a script with a handler.

The modules that implement them are imported when one of them is first called.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from tcpclient_testing.engine.conversation.any_order import Block
    from tcpclient_testing.engine.steps.base import Step

__all__ = ["AnyOrderMethods"]

__unittest = True


class AnyOrderMethods:
    """What replaces the order of steps, on a server and on a connection."""

    def _append_action(self, step: Step[None]) -> Step[None]:
        """Append a step to the script."""
        raise NotImplementedError

    def any_order(self) -> Block:
        """Let what is written in this `with` block come in any order; nothing of it happens before the block ends.

        - On a connection, the block has messages. An action belongs to the expectation written above it.
        - On a server, the block has whole connections. Each is bound to the first script, in written order, that its
          first bytes satisfy. Messages that an `allow` for all connections lets through don't count here.

        Of messages that begin alike, the one that is complete first counts.

        Write the script in the block, and run the client after it. A client that runs within the block, and waits there
        for the server, fails after the time-out of the block's steps, or after the idle time-out if that is shorter.
        """
        from tcpclient_testing.engine.conversation.any_order import Block
        return Block(self._open_block, self._close_block)

    def _open_block(self) -> None:
        raise NotImplementedError

    def _close_block(self, whole: bool) -> None:
        raise NotImplementedError

    def hand_over(self, handler: Callable[[Any], Awaitable[None]], *, label: Optional[str] = None) -> Step[None]:
        """Let `handler` serve the connection from here on; the script of this connection ends here.

        `handler` is a coroutine function that is called with the connection. It awaits the same steps, and can read
        with ``async for line in connection.lines()``. When it returns, the server disconnects. If it raises, the test
        fails. Raises `TypeError` for a handler that can't be one.
        """
        from tcpclient_testing.engine.steps.handlers import HandOver, checked_handler
        return self._append_action(HandOver(checked_handler(handler, "hand_over(handler)"),
                                            origin_of(sys._getframe(1), label)))
