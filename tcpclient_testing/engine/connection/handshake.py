"""The state of a connection's TLS handshake.

    due -> done -> [broken]
     `---> broken

- While the handshake is due, no step of the connection proceeds. `expect_connect()` on a TLS server, and
  `start_tls()`, are satisfied when it has ended.
- A failure is kept, like early input, until a step decides what it means. `expect_tls_failure()` expects it.
  For every other step it is the mismatch, at once.
"""

from __future__ import annotations

from typing import Any

__all__ = ["Handshake"]

__unittest = True


class Handshake:
    """The TLS state of one connection.

    - `received` is the number of handshake bytes that the client has sent so far.
    - `done` says whether the handshake is done.
    - `info` is what was negotiated, once the handshake is done; None before.
    - `withheld` says whether the server has disconnected, but holds back its close_notify until the client has taken
      what was sent before.

    `context`, `info` and `withheld` belong to the adapter.
    """

    __slots__ = ("context", "received", "done", "info", "withheld")

    def __init__(self, context: Any) -> None:
        self.context = context
        self.received = 0
        self.done = False
        self.info: Any = None
        self.withheld = False
