"""What lies below a server's connections: the operating system's sockets, unless another layer takes their place."""

from __future__ import annotations

import asyncio
from typing import Any

__all__ = ["SocketLayer"]

__unittest = True


class SocketLayer:
    """The operating system's sockets, as a server in `loop` uses them.

    - `loop` is the loop that watches the sockets, and gives them their transports.
    - `reached_by` says how clients get to the server, if that isn't by any socket.
    """

    reached_by = ""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: Any = loop
        self._probe: Any = None

    def probe(self) -> Any:
        """Return the probe that tells about the clients' sockets, see `PeerProbe`; None where nobody tells."""
        if self._probe is None:
            from .inet_diag import PeerProbe, available
            if available():
                self._probe = PeerProbe()
        return self._probe

    def close(self) -> None:
        """Close the probe's socket, if there is one."""
        if self._probe is not None:
            self._probe.close()
