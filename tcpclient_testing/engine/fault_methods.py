"""The methods by which scripts change the network and break it; see `script` for the others."""

from __future__ import annotations

import sys
from typing import Any

from .arguments import as_count
from .origin import origin_of
from .steps import Step

__all__ = ["FaultMethods", "ServerFaultMethods"]

__unittest = True


class FaultMethods:
    """Network conditions and faults, on a server and on a connection.

    `n` counts the bytes of the connection's outgoing stream, from the first that the server ever sends on it, be they a
    step's, a handler's, a heartbeat's or a reply's of `allow`; write these steps before the sends that they break. The
    step is satisfied when it is armed; that it never came to pass is a failure when the server is left.

    In a handler whose connection was reset or disconnected so, `lines()` and `frames()` end as if the client had gone,
    sends and `disconnect()` do nothing, and the handler may return; other expectations fail.
    """

    _for_all_connections = False

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def set_network(self, conditions: Any) -> Step[None]:
        """From here on the client receives under these `Network` conditions; None ends them.

        Written on a connection they are that connection's; on a server also those of connections accepted later, and
        before the first `expect_connect()`, of all. Raises `TypeError` for what isn't a `Network`, `ScriptError` after
        the connection's end.
        """
        if conditions is not None and not callable(getattr(conditions, "shaper", None)):
            raise TypeError(f"set_network(conditions) is a Network such as Network(chunk=1), or None, "
                            f"not {type(conditions).__name__}: {conditions!r}")
        from .faults import SetNetworkStep

        step = SetNetworkStep(conditions, self._for_all_connections, origin_of(sys._getframe(1)))
        self._add(step)
        return step

    def reset_after(self, n: int) -> Step[None]:
        """The server resets the connection once the client has the first `n` bytes, be it in the middle of a message.

        The rest of what the script sends on it is not sent; nothing else can be expected of it. The client reads what
        came, then ECONNRESET. Over TLS, blocking clients (`ssl.SSLSocket`) on Python 3.10, 3.11.0 to 3.11.8 and 3.12.0
        to 3.12.2 with OpenSSL 3 may see an end of stream instead (https://github.com/python/cpython/issues/115627).
        """
        return self._break("reset_after", n, sys._getframe(1))

    def disconnect_after(self, n: int) -> Step[None]:
        """The server disconnects after `n` bytes: the client reads them, then an end of stream.

        Only `expect_disconnect` or `expect_reset` may still come to their turn then.
        """
        return self._break("disconnect_after", n, sys._getframe(1))

    def stall_after(self, n: int) -> Step[None]:
        """The server falls silent after `n` bytes: the connection stays open, and it still reads what the client sends.

        Sends that come later are satisfied without a byte; expectations are judged as ever.
        """
        return self._break("stall_after", n, sys._getframe(1))

    def _break(self, method: str, n: int, frame: Any) -> Step[None]:
        from .faults import BreakAfter

        step = BreakAfter(method, as_count(n, f"{method}(n)", 0), origin_of(frame))
        self._add(step)
        return step


class ServerFaultMethods:
    """Faults of a whole server. Each takes effect when the server-level steps before it are done."""

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def refuse_connections(self) -> Step[None]:
        """From here on clients that connect are refused (ECONNREFUSED), until `accept_connections()`.

        The port, or the path, stays this server's. A client whose connection the system has completed but the server
        hasn't accepted yet is reset instead.
        """
        from .faults import SetAcceptingStep

        return self._setting(SetAcceptingStep(False, origin_of(sys._getframe(1))))

    def accept_connections(self) -> Step[None]:
        """Clients can connect again after `refuse_connections()`.

        If they are refused already this takes effect at once, whatever the script is waiting for.
        """
        from .faults import SetAcceptingStep

        return self._setting(SetAcceptingStep(True, origin_of(sys._getframe(1))))

    def fail_connections(self, n: int) -> Step[None]:
        """The next `n` connections are reset as soon as they are accepted; after that everything works.

        The script does not count them: the first `expect_connect()` is the first connection that lives. To the client
        connecting succeeds, as the system does that part, and the first reading or writing after it gives ECONNRESET
        (unless a client outside of the server's loop is so slow to wake up that connecting itself does). A TLS
        handshake is reading and writing: `asyncio.open_connection` with ``ssl=`` raises `ConnectionResetError`.
        """
        from .faults import FailConnectionsStep

        return self._setting(FailConnectionsStep(as_count(n, "fail_connections(n)", 0, of="connections"),
                                                 origin_of(sys._getframe(1))))

    def _setting(self, step: Step[None]) -> Step[None]:
        self._add(step)
        return step
