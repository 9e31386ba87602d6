"""From an accepted socket to its protocol, without a task for each connection.

`connect_accepted_socket` is a coroutine that waits for one future. A task around it would cost a turn of the loop, and
in debug mode, which unittest turns on, two stack captures for each connection; so its steps are taken by the futures
that it waits for.

    under way --the coroutine returns, raises, or is cancelled--> ended
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Coroutine
from typing import Any, Callable

__all__ = ["Attaching"]

__unittest = True


class Attaching:
    """The way of one accepted socket; `ended` is called when it is over. A socket without a protocol is closed."""

    __slots__ = ("accepted", "_loop", "_coroutine", "_ended")

    def __init__(self, loop: asyncio.AbstractEventLoop, factory: Callable[[], asyncio.BaseProtocol],
                 accepted: socket.socket, ended: Callable[[Attaching], None]) -> None:
        self.accepted = accepted
        self._loop = loop
        self._ended = ended
        self._coroutine: Coroutine[Any, Any, Any] = loop.connect_accepted_socket(factory, accepted)

    def proceed(self, _: object = None) -> None:
        """Take the next step: call this once; whatever the coroutine waits for calls it from then on."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration:
            self._ended(self)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - a client that is gone already is its own affair
            self.accepted.close()
            self._ended(self)
        else:
            if awaited is None:  # a bare turn of the loop, as `asyncio.sleep(0)` has it
                self._loop.call_soon(self.proceed)
            else:
                awaited.add_done_callback(self.proceed)

    def cancel(self) -> None:
        """Give the socket up.

        Other loops than asyncio's need not bear it that the coroutine ends early (uvloop 0.23 crashes): there it goes
        on, and the protocol aborts when it gets its transport.
        """
        if isinstance(self._loop, asyncio.BaseEventLoop):
            self._coroutine.close()
            self.accepted.close()
