"""What subtests have reported: a verdict is reported once, by the subtest or by the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .exceptions import chain_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpclient_testing.engine.steps.base import Step

    from .judged import Judged

__all__ = ["SubtestReports"]

__unittest = True


class SubtestReports:
    """What the subtests of one test have reported about its servers.

    A subtest that fails by itself, or is skipped, leaves steps behind that are not satisfied, and clients that are not
    closed. Its own report stands for these.
    """

    def __init__(self) -> None:
        self._told: list[Judged] = []  # servers whose verdict, or the reason for it, a subtest has reported
        self._cut_short: set[Step[Any]] = set()  # what subtests wrote that failed by themselves, or were skipped

    def tell(self, servers: Sequence[Judged]) -> None:
        """A subtest has reported the verdict of these servers."""
        self._told += servers

    def cut_short(self, server: Judged, steps: Sequence[Step[Any]]) -> None:
        """A subtest that has written these steps has failed by itself, or was skipped."""
        self._cut_short |= set(steps)
        server.forgive(self._cut_short)

    def unreported(self, servers: Sequence[Judged]) -> list[Judged]:
        """Return those servers whose verdict no subtest has reported."""
        return [server for server in servers if server not in self._told]

    def tell_of_consequences(self, servers: Sequence[Judged], *, ended: bool = False) -> None:
        """Mark servers as reported if they failed at a step of a subtest that was cut short, or follow a reported one.

        If the test has `ended`, also mark the servers on which such a step is still unsatisfied.
        """
        for server in self.unreported(servers) if self._cut_short or self._told else ():
            if server.failed_in(self._cut_short) or server.follows(self._told) or \
                    (ended and any(step in self._cut_short for step in server.undone())):
                self._told.append(server)
                server.excuse()

    def explain(self, exc: BaseException, servers: Sequence[Judged]) -> bool:
        """Whether `exc` results from a verdict that a subtest has reported. A failure of the test's own does not."""
        self.tell_of_consequences(servers)
        if not any(server in self._told for server in servers):
            return False
        from tcpclient_testing.report.report import ExpectationError  # here, since only a failure needs it
        comes_of_it = (ExpectationError, OSError, EOFError, asyncio.CancelledError)
        return all(any(isinstance(each, comes_of_it) for each in chain_of(part)) for part in parts_of(exc))
