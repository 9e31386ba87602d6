"""Runs the parts of a test that has servers: calls them, lets the servers judge, raises the verdict or what stands.

    set-up -> body: the verdict, if there is one by then -> tear-down, clean-ups -> the verdict

Every surrounding uses this: test cases, fixtures, ``async with``, ``with``, `start` and `stop`. `RunningPart` is the
context in which a part runs. What comes out of a part is decided by `ServersOfTest.ended`.

- `run` is for parts that are coroutines. Each is the body while it runs: it is interrupted when a script has failed.
- `run_blocking` is for parts that block.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, Optional

from .exceptions import is_verdict, raise_alone
from .in_flight import is_over, is_propagating
from .judged import ON_ITS_WAY
from .servers import BODY, SET_UP, TEAR_DOWN, ServersOfTest, owner_of, without_waiting
from .tracebacks import hide_our_frames

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import TracebackType
    from typing import Callable

    from .judged import Judged

__all__ = ["RunningPart", "block_of", "leaving_with", "run", "run_blocking", "show_blocks_in"]

__unittest = True


class _Parts(threading.local):
    """The servers for which a part of a test was begun in this thread. This doesn't keep them alive."""

    def __init__(self) -> None:
        self.servers: weakref.WeakSet[Judged] = weakref.WeakSet()


_parts = _Parts()


async def run(servers: ServersOfTest, part: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that is a part of the test, and await what it returns. Raise what the part reports."""
    if servers.has_body:
        return await function(*args, **kwargs)  # called by another part, which is the body
    async with RunningPart(servers, part):
        with servers.in_part(part):
            value = function(*args, **kwargs)
            return await value if hasattr(value, "__await__") else value


def run_blocking(servers: ServersOfTest, part: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a function that is a part of the test, and blocks. Raise what the part reports."""
    with RunningPart(servers, part), servers.in_part(part):
        return function(*args, **kwargs)


def show_blocks_in(error: BaseException, besides: Collection[Judged] = ()) -> None:
    """If `error` was raised out of an event loop that waited, show in it the conversations of blocks that have servers.

    These blocks have not ended: their tasks still wait. An exception of a task does not come out of the loop like that.
    Servers in `besides` are shown by others.
    """
    entry = error.__traceback__
    while entry is not None and entry.tb_frame.f_code.co_name not in ("_run_once", "called_by_loop"):
        entry = entry.tb_next
    if entry is not None:
        for server in [each for each in _parts.servers if not each.closed and each not in besides]:
            without_waiting(server.show_conversation(error, blocking=True))


class RunningPart:
    """A context in which a part of a test runs. With ``async with``, the part is interrupted when a script fails."""

    def __init__(self, servers: ServersOfTest, part: str) -> None:
        self._servers = servers
        self._part = part

    async def __aenter__(self) -> None:
        _parts.servers.update(self._servers.servers)
        self._servers.begin(cleaning=self._part == TEAR_DOWN)

    async def __aexit__(self, kind: Optional[type[BaseException]], exc: Optional[BaseException],
                        traceback: Optional[TracebackType]) -> bool:
        try:
            raised = await self._servers.ended(self._part, exc, blocking=False)
        except asyncio.CancelledError as cancelled:
            # Somebody cancels the test while it is judged. That hides no failure that was there before.
            ended_with = cancelled if exc is None else exc
            raised = without_waiting(self._servers.ended(self._part, ended_with, blocking=True))
            if raised is cancelled:
                raise
        return _left(exc, raised)

    def __enter__(self) -> None:
        self._servers.hear_threads()
        _parts.servers.update(self._servers.servers)

    def __exit__(self, kind: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> bool:
        return _left(exc, without_waiting(self._servers.ended(self._part, exc, blocking=True)))


def _left(exc: Optional[BaseException], raised: Optional[BaseException]) -> bool:
    """Leave a context that `exc` has reached: raise `raised`, or return whether nothing is to be raised."""
    if raised is None:
        return True
    if raised is not exc:
        raise_alone(raised)
    hide_our_frames(raised)
    return False


class _ServerOfBlock(ServersOfTest):
    """A server that lives as long as a block of code: it is left when the block has ended.

    Unless it `judges`, it waits for nothing then, and only a failure that was there before is raised.

    If a test owns the server, this knows the body, and what was reported.
    """

    def __init__(self, server: Judged, judges: bool, clears: bool) -> None:
        super().__init__()
        self._server = server
        self._judges = judges
        owner = owner_of(server)
        self._owner = owner if owner is not None and owner.in_charge else None
        self.attaches = self._owner is None or clears or self._owner.attaches_to(server)
        self.add(server, outlives=clears)

    def _follow(self, server: Judged) -> None:
        if self._body is not None:
            super()._follow(server)

    def _go_on(self, cleared: Judged, server: Judged) -> None:
        self.servers.remove(cleared)  # a block may clear its server any number of times
        self._server = server
        if self._owner is not None and self._owner.has_body:
            self._body = None  # the owner has told the server which part of the test is the body now
        self.add(server)

    def begin(self, *, cleaning: bool = False) -> None:
        if self._owner is not None and self._owner.has_body:
            self.hear_threads()
            return
        super().begin(cleaning=cleaning)
        for server in self.servers:
            self._follow(server)

    async def ended(self, part: str, exc: Optional[BaseException], *, blocking: bool) -> Optional[BaseException]:
        raised = await self._ended(part, exc, blocking)
        owner, verdict = self._owner, None if raised is exc else raised
        if owner is None:
            return raised
        if isinstance(verdict, AssertionError) and owner.part not in (SET_UP, BODY) \
                and owner.is_reported(self._server):
            raised, verdict = exc, None  # it tells what a subtest has reported
        owner.left(self._server, verdict)
        return raised

    async def _ended(self, part: str, exc: Optional[BaseException], blocking: bool) -> Optional[BaseException]:
        if self._owner is not None and self._owner.part not in (SET_UP, BODY) and self._server.excused:
            await self.release()
            self.close()
            return exc  # a consequence, if it is anything: the owner drops it
        try:
            until = None if exc is None else self._waited_elsewhere(exc)
            if until is not None:
                for server in self.servers:
                    await server.look_for_cause(until, blocking=blocking)
            raised = await super().ended(part, exc, blocking=blocking)
            if not self._judges:
                self.excuse()
            verdict = await self.leave_all(blocking=blocking)
            if raised is None:
                raised = verdict
            if is_verdict(raised) and not is_verdict(exc):
                raised.report.give_on_leaving()  # type: ignore[union-attr] # for the servers of the blocks around this
            return raised
        except BaseException:
            self.close()
            raise

    def _waited_elsewhere(self, exc: BaseException) -> Optional[float]:
        """Return until when another server has waited in vain, if that may have made this block end with `exc`.

        The block of that server is inside (then `exc` is its verdict, given when it was left), or outside (then its
        script has failed). A verdict that the test itself has awaited doesn't count: the test may not have written its
        whole script.
        """
        if is_verdict(exc):
            report = exc.report  # type: ignore[attr-defined]
            return report.failure.now if report.given_on_leaving and report.failure.in_vain else None
        waited = [server.waited_until() for server in _parts.servers
                  if server not in self.servers and not server.closed]
        return min((until for until in waited if until is not None), default=None)


def block_of(server: Judged, *, judge: bool = True, clears: bool = False) -> RunningPart:
    """Return the context of a block of code in which `server` lives. It is left at the end, and closed or cleared."""
    return RunningPart(_ServerOfBlock(server, judge, clears), BODY)


def leaving_with(server: Judged, exc: Optional[BaseException]) -> Optional[BaseException]:
    """Return the exception that leaves the block in which `server` is stopped: `exc`, or what is `ON_ITS_WAY`.

    Return None if that is handled there. A handled exception doesn't excuse the client: the script is checked. If the
    script had failed by then, the report shows the exception.
    """
    if exc is not ON_ITS_WAY:
        return exc
    exc = sys.exc_info()[1]
    if exc is not None and not is_over(exc):
        if is_propagating(exc):
            return exc
        server.blames(exc)
    return None
