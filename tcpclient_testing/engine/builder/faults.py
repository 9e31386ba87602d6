"""The methods with which a script sets network conditions and injects faults, such as resets and refusals."""

from __future__ import annotations

import sys
from typing import Any, Optional

from tcpclient_testing.engine.arguments import as_count
from tcpclient_testing.engine.origin import Origin, origin_of
from tcpclient_testing.engine.steps.base import Step

__all__ = ["FaultMethods", "ServerFaultMethods"]

__unittest = True


class FaultMethods:
    """Network conditions and faults, on a server and on a connection.

    `n` is a number of bytes of the connection's outgoing stream. It counts all bytes that the server sends on the
    connection, from the first one: those of steps, handlers, heartbeats (`every`) and replies (`allow`).

    Write a fault before the sends that it breaks. Its step is satisfied when it is armed. If the byte count is never
    reached, the test fails when the server's context is left.

    If a handler's connection is reset or disconnected by a fault, `lines()` and `frames()` end as if the client had
    gone, sends and `disconnect()` do nothing, and the handler may return. Other expectations fail.
    """

    _for_all_connections = False

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def set_network(self, conditions: Any, *, label: Optional[str] = None) -> Step[None]:
        """From this point of the script, the client receives under these `Network` conditions; None ends them.

        Written on a connection, they apply to that connection. Written on a server, they also apply to connections that
        are accepted later; before the first `expect_connect()`, to all connections.

        Raises `TypeError` if `conditions` is neither a `Network` nor None, `ScriptError` after the connection's end.
        """
        if conditions is not None and not callable(getattr(conditions, "shaper", None)):
            raise TypeError(f"set_network(conditions) is a Network such as Network(chunk=1), or None, "
                            f"not {type(conditions).__name__}: {conditions!r}")
        from tcpclient_testing.engine.steps.settings import SetNetworkStep

        step = SetNetworkStep(conditions, self._for_all_connections, origin_of(sys._getframe(1), label))
        self._add(step)
        return step

    def reset_after(self, n: int, *, label: Optional[str] = None) -> Step[None]:
        """The server resets the connection once the client has the first `n` bytes, even in the middle of a message.

        The server does not send the rest of the script's bytes on this connection, and nothing else can be expected of
        it. The client reads what came, then gets ECONNRESET. Over TLS, blocking clients (`ssl.SSLSocket`) on Python
        3.10, 3.11.0 to 3.11.8 and 3.12.0 to 3.12.2 with OpenSSL 3 may see an end of stream instead
        (https://github.com/python/cpython/issues/115627).
        """
        return self._break("reset_after", n, origin_of(sys._getframe(1), label))

    def disconnect_after(self, n: int, *, label: Optional[str] = None) -> Step[None]:
        """The server disconnects after `n` bytes: the client reads them, then an end of stream.

        After that, only `expect_disconnect` or `expect_reset` can still be expected.
        """
        return self._break("disconnect_after", n, origin_of(sys._getframe(1), label))

    def stall_after(self, n: int, *, label: Optional[str] = None) -> Step[None]:
        """The server falls silent after `n` bytes: the connection stays open, and it still reads what the client sends.

        Later sends are satisfied without sending a byte. Expectations are judged as usual.
        """
        return self._break("stall_after", n, origin_of(sys._getframe(1), label))

    def _break(self, method: str, n: int, origin: Origin) -> Step[None]:
        from tcpclient_testing.engine.steps.faults import BreakAfter

        step = BreakAfter(method, as_count(n, f"{method}(n)", 0), origin)
        self._add(step)
        return step


class ServerFaultMethods:
    """Faults of a whole server. Each takes effect when the server-level steps before it are done."""

    def _add(self, step: Step[Any]) -> None:
        """Append the step to the script."""
        raise NotImplementedError

    def refuse_connections(self, *, label: Optional[str] = None) -> Step[None]:
        """Refuse clients that connect (ECONNREFUSED), from this point of the script until `accept_connections()`.

        The server keeps its port, or its path. A connection that the operating system has completed but the server has
        not accepted yet is reset instead.
        """
        from tcpclient_testing.engine.steps.settings import SetAcceptingStep

        return self._setting(SetAcceptingStep(False, origin_of(sys._getframe(1), label)))

    def accept_connections(self, *, label: Optional[str] = None) -> Step[None]:
        """Let clients connect again after `refuse_connections()`.

        If clients are being refused already, this takes effect at once, whatever the script is waiting for.
        """
        from tcpclient_testing.engine.steps.settings import SetAcceptingStep

        return self._setting(SetAcceptingStep(True, origin_of(sys._getframe(1), label)))

    def fail_connections(self, n: int, *, label: Optional[str] = None) -> Step[None]:
        """The next `n` connections are reset as soon as they are accepted; after that everything works.

        The script does not count them: the first `expect_connect()` is the first connection that is not reset. For the
        client, connecting succeeds, because the operating system does that part; its first read or write after that
        fails with ECONNRESET. (If a client outside of the server's loop wakes up very late, connecting itself fails
        with ECONNRESET.) A TLS handshake reads and writes: `asyncio.open_connection` with ``ssl=`` raises
        `ConnectionResetError`.
        """
        from tcpclient_testing.engine.steps.settings import FailConnectionsStep

        return self._setting(FailConnectionsStep(as_count(n, "fail_connections(n)", 0, of="connections"),
                                                 origin_of(sys._getframe(1), label)))

    def _setting(self, step: Step[None]) -> Step[None]:
        self._add(step)
        return step
