"""An address at which connecting never ends, for tests of a client's time-out for connecting.

A listening socket whose backlog is full does not answer further SYNs (listen(2); tcp(7): tcp_abort_on_overflow is off
unless somebody has switched it on). So `UnansweringAddress` makes a listener with the shortest backlog, and fills it
with connections of its own until one of them does not get through.
"""

from __future__ import annotations

import errno
import select
import socket
from types import TracebackType
from typing import Optional

from tcpclient_testing.aio.native.originals import Socket

__all__ = ["UnansweringAddress"]

__unittest = True

# How long to wait for one of our connections (seconds). On the local machine it gets through at once, or never.
_PATIENCE = 0.05
_MOST = 64


class UnansweringAddress:
    """An address of the local machine that neither accepts nor refuses connections:

        with UnansweringAddress() as address:
            client.connect(*address, timeout=1)         # runs into the time-out

    The value of the `with` block is ``(host, port)``. ``async with`` does the same. Entering the block takes
    0.05 seconds.

    Raises `OSError` with the errno EOPNOTSUPP if the platform completes or refuses every connection: skip the test
    there.
    """

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> tuple[str, int]:
        listener = Socket()
        self._sockets.append(listener)
        try:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address: tuple[str, int] = listener.getsockname()
            for _ in range(_MOST):
                if not self._gets_through(address):
                    return address
        except BaseException:
            self.close()
            raise
        self.close()
        raise OSError(errno.EOPNOTSUPP, "this platform completes every connection, however full the backlog is")

    def _gets_through(self, address: tuple[str, int]) -> bool:
        filler = Socket()
        self._sockets.append(filler)
        filler.setblocking(False)
        if filler.connect_ex(address) == 0:
            return True
        _, ready, failed = select.select([], [filler], [filler], _PATIENCE)
        if not (ready or failed):
            return False
        if filler.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(errno.EOPNOTSUPP, "this platform refuses connections when the backlog is full")
        return True

    def close(self) -> None:
        """Release the address. Clients that are still connecting are refused."""
        while self._sockets:
            self._sockets.pop().close()

    def __exit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        self.close()

    async def __aenter__(self) -> tuple[str, int]:
        return self.__enter__()

    async def __aexit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> None:
        self.close()
