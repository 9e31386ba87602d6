"""What anybody may ask of a server: where it is, what happened, and how it stands.

Each answer is read off the runtime as it is at that moment: a value that the server's loop has put there whole, or what
such values say together. Nothing here waits, whatever thread it is asked in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Optional

from tcpclient_testing.errors import ScriptError
from tcpclient_testing.transcript.entries import Transcript

if TYPE_CHECKING:
    from tcpclient_testing.engine.steps import Step
    from tcpclient_testing.report import ExpectationError

    from .handle import Connection
    from .runtime import Runtime

__all__ = ["ServerView"]

__unittest = True


class ServerView:
    """The questions that servers answer at once."""

    _runtime: Runtime
    _unix_path: Optional[str]
    _how_to_start: ClassVar[str] = "use `async with`, or await start()"

    # Where it is.

    @property
    def address(self) -> tuple[str, int]:
        """``(host, port)``, as `socket.create_connection` takes it.

        With ``unix_path=`` it is the path, a `str`, as `socket.socket.connect` takes it; the annotation leaves that out
        so that ``connect(*server.address)`` passes type checkers.
        """
        address: Any = self._runtime.reception.address
        if address is None:
            raise ScriptError(f"the server has no address before it was started: {self._how_to_start}")
        if self._unix_path is not None:
            return address  # type: ignore[no-any-return]
        host, port = address[:2]
        return host, port

    @property
    def unix_path(self) -> Optional[str]:
        """The path of the Unix-domain socket at which the server listens; None if it listens on a port."""
        return self._unix_path

    @property
    def host(self) -> str:
        """The address of the local machine at which the server listens."""
        return self._tcp_address()[0]

    @property
    def port(self) -> int:
        """The port at which the server listens."""
        return self._tcp_address()[1]

    @property
    def service_port(self) -> int:
        """The same as `port`."""
        return self._tcp_address()[1]

    def _tcp_address(self) -> tuple[str, int]:
        if self._unix_path is not None:
            raise ScriptError(f"the server listens at the Unix-domain socket {self._unix_path!r} and on no port: use "
                              "unix_path, or address")
        return self.address

    # What happened.

    @property
    def connections(self) -> list[Connection]:
        """The connections accepted so far, in order."""
        return [conversation.handle for conversation in self._runtime.session.conversations if conversation.accepted]

    @property
    def transcript(self) -> Transcript:
        """Everything that happened so far; iterate over it for the entries."""
        return self._runtime.transcript

    def conversation_so_far(self, *, script: bool = True) -> list[str]:
        """The transcript as a report shows it, line by line, and before it, if `script`, the state of each step."""
        from tcpclient_testing.report import conversation_text
        from tcpclient_testing.transcript.text import lines
        runtime = self._runtime
        return conversation_text(runtime.session, runtime.transcript) if script else lines(runtime.transcript)

    # How it stands.

    @property
    def closed(self) -> bool:
        """Whether the server was left."""
        return self._runtime.closed

    def verdict(self) -> Optional[ExpectationError]:
        """Why the script has failed, to be raised; None if it has not."""
        return None if self._runtime.session.failure is None else self._runtime.error()

    def failed_at(self) -> float:
        """When the script failed, in seconds of the loop's clock; infinity if it has not."""
        failure = self._runtime.session.failure
        return float("inf") if failure is None else failure.now

    def failed_step(self) -> Optional[Step[Any]]:
        """The step at which the script failed; None if it has not, or at none."""
        failure = self._runtime.session.failure
        return None if failure is None else failure.step

    def undone(self) -> list[Step[Any]]:
        """The steps that are not satisfied."""
        return [step for conversation in self._runtime.session.conversations
                for step in conversation.steps[conversation.cursor:]]

    def settled(self) -> bool:
        """Whether all is done: each step of the script, and every client has ended its stream."""
        session = self._runtime.session
        return session.complete and all(conversation.ended for conversation in session.conversations)

    def __repr__(self) -> str:
        runtime = self._runtime
        state = "stopped" if runtime.closed else "not started" if not runtime.running else \
            "failed" if runtime.session.failure is not None else "running"
        where = f" at {runtime.listening_at()}" if runtime.running else ""
        return f"<{type(self).__name__}{where}, {state}>"
