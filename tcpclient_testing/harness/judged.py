"""What the harness needs from a server, which runs in the test's own loop or in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional, Protocol

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.report.report import ExpectationError

__all__ = ["ON_ITS_WAY", "Judged"]


class _OnItsWay:
    def __repr__(self) -> str:
        return "the exception on its way"


#: The exception that is on its way, if any: what `stop` finds out by itself.
ON_ITS_WAY: Any = _OnItsWay()


class Judged(Protocol):
    """A server's side in the report of a test.

    Methods with `blocking` are coroutines. With ``blocking=True`` they never wait for a loop: they block, or have
    nothing to wait for.
    """

    @property
    def in_loop(self) -> bool:
        """Whether the server runs in a loop of the test: then it can't be left by code that blocks."""

    @property
    def finished(self) -> bool:
        """Whether the server was closed, and has no failure that the test has not reported."""

    @property
    def closed(self) -> bool:
        """Whether the server was closed: its block, or its test, has ended."""

    @property
    def excused(self) -> bool:
        """Whether the server gives no verdict any more, since the test has its report."""

    def error(self) -> Optional[ExpectationError]:
        """Return a new exception that says why the script has failed; None if it has not."""

    def failed_at(self) -> float:
        """Return when the script failed, for comparing it with other servers; infinity if it has not failed."""

    def waited_until(self) -> Optional[float]:
        """Return until when the server has waited, if its script has failed only since it waited in vain; else None."""

    async def look_for_cause(self, until: float, *, blocking: bool = False) -> None:
        """Another server has waited in vain `until` then: fail if a client had done something that no step explains."""

    def failed_in(self, steps: Container[Step[Any]]) -> bool:
        """Whether the script failed at one of these steps or, at no step, on a connection that has one of them."""

    def settled(self) -> bool:
        """Whether all is done: every step is satisfied, and every client has ended its stream."""

    def follows(self, servers: Sequence[Judged]) -> bool:
        """Whether the script failed only because that of one of these servers had failed."""

    def undone(self) -> list[Step[Any]]:
        """Return the steps that are not satisfied."""

    def written(self) -> dict[Any, int]:
        """Return how many steps the script of each connection has."""

    def written_since(self, before: Mapping[Any, int]) -> list[Step[Any]]:
        """Return the steps that were written since `written` has returned `before`."""

    def forgive(self, steps: Container[Step[Any]]) -> None:
        """Judge no more how a client's stream was closed, if the last step of its script is one of these."""

    @property
    def interrupts_body(self) -> bool:
        """Whether the body of the test was interrupted, and is still running."""

    def look_back(self, exc: BaseException) -> None:
        """The test has just raised `exc`: find out whether a client had blocked the server's loop until then."""

    def blames(self, exc: BaseException) -> bool:
        """Whether the script had failed before `exc` was raised, after the body. If so, the report shows `exc`."""

    def excuse(self, exc: Optional[BaseException] = None) -> None:
        """Give no verdict any more, since the test has its report. Attach the conversation to its exception `exc`."""

    def set_body(self, task: asyncio.Task[Any], *, cleaning: bool = False) -> None:
        """Make `task` the body of the test: it is interrupted when the script has failed."""

    def spare_body(self, progress: Callable[[], int]) -> None:
        """A subtest has reported the verdict: interrupt the body only when it is stuck; see `Body.spare`."""

    async def release_body(self) -> bool:
        """The body has ended: don't interrupt it any more. Return whether it was interrupted, and by nobody else."""

    async def conclude(self, exc: Optional[BaseException], *, interrupted: bool = False, attach: bool = True,
                       blocking: bool = False) -> Optional[BaseException]:
        """A part of the test has ended with `exc`, or without: return what is to be raised instead; None for nothing.

        If there is an exception, it is the test's report: the server gives no verdict any more. `interrupted` says that
        the library has interrupted that part, and nobody else. If `exc` stands, the conversation is attached to it,
        unless ``attach=False``: then the caller shows the conversation.
        """

    async def show_conversation(self, exc: BaseException, *, blocking: bool = False) -> None:
        """Attach the conversation to `exc`, the report on a part of the test. The verdict comes all the same."""

    async def judge(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Wait for the rest of the script, and check what is left; raise the verdict.

        With `implied_disconnect`, a script that does not say how its connection ends is taken to end with an
        `expect_disconnect()`.
        """

    async def leave(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Wait for the rest of the script, raise the verdict unless the test has its report, and close everything."""

    async def clear(self, *, implied_disconnect: bool = False, blocking: bool = False) -> None:
        """Do what `leave` does, but keep the server: it begins another script, whatever is raised."""

    def renew(self) -> None:
        """Close every connection at once, without a verdict, and let the server begin another script."""

    def follow(self, tell: Callable[[Judged, Judged], None]) -> None:
        """Call `tell` with this and with the next judgement when the server begins another script."""

    def close(self) -> None:
        """Close everything at once, whatever the clients do, without a verdict."""

    def hear_threads(self) -> None:
        """A part of the test begins: hear of exceptions that end threads."""

    def show_elsewhere(self) -> None:
        """The caller shows the conversation of a test that has failed: it need not be attached to an exception."""

    def has_happened(self) -> int:
        """Return how many entries the transcript has."""

    def has_conversation(self) -> bool:
        """Whether there is anything to show: a client has connected, or something has happened."""

    def conversation_so_far(self, *, script: bool = True) -> list[str]:
        """Return the transcript as a report shows it, in lines. If `script`, the state of each step comes first."""
