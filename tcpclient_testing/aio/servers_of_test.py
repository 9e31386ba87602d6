"""The servers of one test, as a test framework sees them: the body that they interrupt, and whose failure came first.

    begin -> (body) -> end -> tear-down: is_consequence -> the verdict

One test, one report: the earliest failure is the verdict; what is raised after it is a consequence; when the test has
its report, the other servers give none.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, Optional, TypeVar

from .server import MockTCPServer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class Judged(Protocol):
        """What is asked of a server here, be it in the test's own loop or in a thread."""

        @property
        def closed(self) -> bool: ...
        def failed_at(self) -> float: ...
        def blames(self, exc: BaseException) -> bool: ...
        def excuse(self, exc: Optional[BaseException] = None) -> None: ...

__all__ = ["JudgedTogether", "ServersOfTest"]

__unittest = True

S = TypeVar("S", bound="Judged")


class JudgedTogether(Generic[S]):
    """The servers that a test has made, in that order, whose verdicts make one report."""

    def __init__(self) -> None:
        self.servers: list[S] = []

    def add(self, server: S) -> None:
        """The test has made `server`."""
        self.servers.append(server)

    def live(self) -> list[S]:
        """The servers that were not left yet; those whose script has failed come first, the earliest before all."""
        return sorted((server for server in self.servers if not server.closed), key=lambda server: server.failed_at())

    def concluded(self, exc: Optional[BaseException],
                  verdicts: Sequence[Optional[BaseException]]) -> Optional[BaseException]:
        """The body has ended with `exc`, and each of the servers in `live` has said what is to be raised instead.

        Return what is: the verdict that came first. If there is one, or `exc`, the test has its report.
        """
        instead = next((verdict for verdict in verdicts if verdict is not None), None)
        if exc is not None or instead is not None:
            self.excuse()
        return instead

    def is_consequence(self, exc: BaseException) -> bool:
        """Whether `exc`, raised outside the body, came after a script had failed; then that report has it.

        Else `exc` is the test's report, with what passed attached to it.
        """
        # Each of them takes note, be its verdict still to come or given already.
        if [server for server in self.servers if server.blames(exc)]:
            return True
        self.excuse(exc)
        return False

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """The test has its one report, which is `exc` if given: no server gives a verdict any more."""
        for server in self.live():
            server.excuse(exc)


class ServersOfTest(JudgedTogether[MockTCPServer]):
    """The servers that live in the test's own loop, and the task of its body while that runs."""

    def __init__(self) -> None:
        super().__init__()
        self._body: Optional[asyncio.Task[Any]] = None

    def add(self, server: MockTCPServer) -> None:
        """The test has made `server`."""
        super().add(server)
        if self._body is not None:
            self._tell(server, self._body)

    def begin(self, body: asyncio.Task[Any]) -> None:
        """The body begins, in this task: it is to be interrupted when a script has failed."""
        self._body = body
        for server in self.live():
            self._tell(server, body)

    @staticmethod
    def _tell(server: MockTCPServer, body: asyncio.Task[Any]) -> None:
        server.attach(body.get_loop())
        server.set_body(body)

    async def end(self, exc: Optional[BaseException], *, attach: bool = True) -> Optional[BaseException]:
        """The body has ended: return what is to be raised instead of `exc`, the verdict that came first."""
        self._body = None
        return self.concluded(exc, [await server.body_ended(exc, attach=attach) for server in self.live()])
