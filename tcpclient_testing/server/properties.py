"""What can be asked of a server at any time: its address, what happened so far, and whether it was stopped.

Each answer is read from the runtime at that moment. It is a value that the server's loop has stored as a whole, or is
computed from such values. So everything here may be called from any thread, and nothing waits.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, ClassVar, Optional

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.transcript.entries import Transcript, logger

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime

    from .connection import Connection
    from .lifetime import Lifetime

__all__ = ["ServerView"]

__unittest = True


class ServerView:
    """The properties and methods of a server that answer at once, from any thread."""

    _runtime: Runtime
    _lifetime: Lifetime
    _how_to_start: ClassVar[str] = "use `async with`, or await start()"

    # The address.

    @property
    def address(self) -> tuple[str, int]:
        """``(host, port)``, as `socket.create_connection` takes it.

        With ``unix_path=`` it is the path, a `str`, as `socket.socket.connect` takes it. The annotation leaves that out
        so that ``connect(*server.address)`` passes type checkers. Raises `ScriptError` before the server was started.
        """
        address: Any = self._runtime.reception.address
        if address is None:
            raise ScriptError(f"the server has no address before it was started: {self._how_to_start}")
        if self._lifetime.unix_path is not None:
            return address  # type: ignore[no-any-return]
        host, port = address[:2]
        return host, port

    @property
    def unix_path(self) -> Optional[str]:
        """The path of the Unix-domain socket on which the server listens; None if it listens on a port."""
        return self._lifetime.unix_path

    @property
    def host(self) -> str:
        """The local address on which the server listens. Raises `ScriptError` before the start and with `unix_path`."""
        return self._tcp_address()[0]

    @property
    def port(self) -> int:
        """The port on which the server listens. Raises `ScriptError` before the start, and with `unix_path`."""
        return self._tcp_address()[1]

    @property
    def service_port(self) -> int:
        """The same as `port`."""
        return self._tcp_address()[1]

    def _tcp_address(self) -> tuple[str, int]:
        path = self._lifetime.unix_path
        if path is not None:
            raise ScriptError(f"the server listens at the Unix-domain socket {path!r} and on no port: use unix_path, "
                              "or address")
        return self.address

    # What happened.

    @property
    def name(self) -> Optional[str]:
        """What reports and the log call the server; None if it was given no name."""
        return self._runtime.transcript.name

    @property
    def log(self) -> logging.Logger:
        """The logger ``tcpclient_testing``: at the level DEBUG it shows each conversation as it happens."""
        return logger

    @property
    def connections(self) -> list[Connection]:
        """The connections accepted so far, in order."""
        conversations = self._runtime.session.connections.all
        return [conversation.handle for conversation in conversations if conversation.inbox.accepted]

    @property
    def transcript(self) -> Transcript:
        """Everything that happened so far. Print it, or iterate over it for the entries."""
        return self._runtime.transcript

    # The state.

    @property
    def closed(self) -> bool:
        """Whether the server was left or stopped."""
        return self._runtime.closed

    @property
    def loop(self) -> Optional[asyncio.AbstractEventLoop]:
        """The event loop that the server runs in; None before it has one."""
        return self._runtime.context.loop if self._runtime.context.attached else None

    def __repr__(self) -> str:
        runtime = self._runtime
        state = "stopped" if runtime.context.closed else "not started" if not runtime.running else \
            "failed" if runtime.context.environment.failure is not None else "running"
        where = f" at {runtime.host.listening_at()}" if runtime.running else ""
        name = "" if self.name is None else f" {self.name!r}"
        return f"<{type(self).__name__}{name}{where}, {state}>"
