"""A blocking client, threads that run one, and what a test leaves behind, for the tests of threaded servers."""

from __future__ import annotations

import os
import socket
import threading
import time
from typing import Any, Callable, Optional

from .platforms import HAS_PROC

__all__ = ["Worker", "connect", "descriptors", "eventually", "send_at_once", "threads"]


def connect(address: tuple[str, int], timeout: Optional[float] = 30.0) -> socket.socket:
    """Connect a blocking client; its own time-out is the test's last resort."""
    return socket.create_connection(address, timeout)


def send_at_once(client: socket.socket) -> None:
    """Let no request wait until the end of its TLS handshake is acknowledged: Nagle's algorithm, 40 ms."""
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Worker(threading.Thread):
    """A thread that keeps what its function returned or raised."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._args = args
        self.value: Any = None
        self.error: Optional[BaseException] = None
        self.start()

    def run(self) -> None:
        try:
            self.value = self._function(*self._args)
        except BaseException as error:
            self.error = error

    def ended(self, timeout: float = 30.0) -> bool:
        """Whether it ends in time."""
        self.join(timeout)
        return not self.is_alive()


def threads() -> int:
    """How many threads live, the watchdog aside."""
    return len([each for each in threading.enumerate() if not getattr(each, "tcpclient_testing_owned", False)])


def descriptors() -> int:
    """How many descriptors are open; 0 where the system doesn't tell."""
    return len(os.listdir("/proc/self/fd")) if HAS_PROC else 0


def eventually(condition: Callable[[], bool], timeout: float = 10.0) -> bool:
    """Wait for what another thread will bring about, and nothing else tells."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.001)
    return True
