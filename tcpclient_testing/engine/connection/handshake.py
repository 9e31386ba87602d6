"""The state of a connection's TLS handshake.

    due -> done -> [failed]
     `---> failed

- While the handshake is due, no step of the connection proceeds. `expect_connect()` on a TLS server, and
  `start_tls()`, are satisfied when it has ended.
- A failure is kept, like early input, until a step decides what it means. `expect_tls_failure()` expects it.
  For every other step it is the mismatch, at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Optional

if TYPE_CHECKING:
    from .tls_failure import TLSFailure

__all__ = ["HANDSHAKE_DONE", "Handshake"]

__unittest = True

#: What the note in the transcript begins with when a handshake is done.
HANDSHAKE_DONE = "TLS handshake done"


class Handshake:
    """The TLS state of one connection.

    - `received` is the number of handshake bytes that the client has sent so far.
    - `done` says whether the handshake is done.
    - `info` is what was negotiated, once the handshake is done; None before.
    - `failure` is how TLS failed, in the handshake or later; None as long as it has not.
    - `withheld` says whether the server has disconnected, but holds back its close_notify until the client has taken
      what was sent before.

    `context`, `info` and `withheld` belong to the adapter.
    """

    __slots__ = ("context", "received", "done", "info", "failure", "withheld")

    def __init__(self, context: Any) -> None:
        self.context = context
        self.received = 0
        self.done = False
        self.info: Any = None
        self.failure: Optional[TLSFailure] = None
        self.withheld = False

    @property
    def under_way(self) -> bool:
        """Whether it has neither finished nor failed."""
        return not self.done and self.failure is None

    def take(self, count: int) -> None:
        """The client has sent `count` more bytes of its handshake."""
        self.received += count

    def finish(self, info: Any) -> None:
        """The handshake is done; `info` is what was negotiated."""
        self.done = True
        self.info = info

    def fail(self, failure: TLSFailure) -> None:
        """TLS has failed."""
        self.failure = failure

    def withhold(self, withheld: bool) -> None:
        """Take note whether the close_notify is held back."""
        self.withheld = withheld
