"""The servers of one test, as a test framework sees them: the body that they interrupt, and whose failure came first.

    begin -> (body) -> end -> tear-down: blames

One test, one report: the earliest failure is the verdict; what is raised after it is a consequence.
"""

from __future__ import annotations

import asyncio
from typing import Any, Optional

from .server import MockTCPServer

__all__ = ["ServersOfTest"]

__unittest = True


class ServersOfTest:
    """The servers that a test has made, in that order, and the task of its body while that runs."""

    def __init__(self) -> None:
        self.servers: list[MockTCPServer] = []
        self._body: Optional[asyncio.Task[Any]] = None

    def add(self, server: MockTCPServer) -> None:
        """The test has made `server`."""
        self.servers.append(server)
        if self._body is not None:
            self._tell(server, self._body)

    def live(self) -> list[MockTCPServer]:
        """The servers that were not left yet; those whose script has failed come first, the earliest before all."""
        return sorted((server for server in self.servers if not server.closed), key=MockTCPServer.failed_at)

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
        instead: Optional[BaseException] = None
        for server in self.live():
            verdict = await server.body_ended(exc, attach=attach)
            instead = instead or verdict
        return instead

    def blames(self, exc: BaseException) -> bool:
        """Whether `exc`, raised outside the body, came after a script had failed; then that report has it."""
        return any(server.blames(exc) for server in self.live())
