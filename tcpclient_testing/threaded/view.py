"""What any thread may ask of the server, or tell it, without waiting for the server's own thread.

Each answer is read off the inner server as it stands: a value that its thread has put there whole, or what such values
say together at that moment. Nothing here is passed on to that thread, and so nothing blocks, be it stopped or busy.
"""

from __future__ import annotations

from typing import Optional, cast

from tcpclient_testing.aio.server import MockTCPServer
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.report import ExpectationError
from tcpclient_testing.transcript.entries import Transcript

from .inner import InnerServer, ThreadedConnection, ThreadedRuntime

__all__ = ["ServerView"]

__unittest = True


class ServerView:
    """The questions that `MockTCPServer` answers at once."""

    _server: InnerServer
    _runtime: ThreadedRuntime

    # Where it is.

    @property
    def address(self) -> tuple[str, int]:
        """``(host, port)``, as `socket.create_connection` takes it; with ``unix_path=`` it is the path, a `str`."""
        return self._started().address

    def _started(self) -> MockTCPServer:
        if self._runtime.reception.address is None:
            raise ScriptError("the server has no address before it was started: use `with`, or start()")
        return self._server

    @property
    def host(self) -> str:
        """The address of the local machine at which the server listens."""
        return self._started().host

    @property
    def port(self) -> int:
        """The port at which the server listens."""
        return self._started().port

    @property
    def service_port(self) -> int:
        """The same as `port`."""
        return self._started().port

    @property
    def unix_path(self) -> Optional[str]:
        """The path of the Unix-domain socket at which the server listens; None if it listens on a port."""
        return self._server.unix_path

    # What happened.

    @property
    def connections(self) -> list[ThreadedConnection]:
        """The connections accepted so far, in order."""
        return cast("list[ThreadedConnection]", self._server.connections)

    @property
    def transcript(self) -> Transcript:
        """Everything that happened so far; iterate over it for the entries."""
        return self._server.transcript

    def conversation_so_far(self, *, script: bool = True) -> list[str]:
        """The transcript as a report shows it, line by line, and before it, if `script`, the state of each step."""
        return self._server.conversation_so_far(script=script)

    def __repr__(self) -> str:
        return repr(self._server).replace(type(self._server).__name__, type(self).__name__, 1)

    # What test frameworks ask, as of `MockTCPServer`.

    @property
    def closed(self) -> bool:
        """Whether the server was left."""
        return self._runtime.closed

    def verdict(self) -> Optional[ExpectationError]:
        """Why the script has failed, to be raised; None if it has not."""
        return self._server.verdict()

    def failed_at(self) -> float:
        """When the script failed, in seconds of the loop's clock; infinity if it has not."""
        return self._server.failed_at()

    def settled(self) -> bool:
        """Whether all is done: each step of the script, and every client has ended its stream."""
        return self._server.settled()

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """The test has its one report already: give no verdict any more. Attach what passed to `exc`, its exception."""
        self._server.excuse(exc)

    def blames(self, exc: BaseException) -> bool:
        """Whether `exc`, raised after the body, came after the script had failed; then the report has it."""
        return self._server.blames(exc)
