"""How often the loop's debug mode extracts a stack, which is what makes tests slow under unittest."""

from __future__ import annotations

import socket
import threading
import traceback
from typing import Any, Callable
from unittest import mock

from .measuring import OURS, RAW, STREAMS, Goal, Scenario
from .small_tests import REPLY, REQUEST, _Debug, _Ours, _Raw, _run, _Streams, client

__all__ = ["captures", "captures_of_our_server"]


def _count(function: Callable[[], object]) -> int:
    """How many stacks are extracted meanwhile: asyncio does it for each handle, task and future in debug mode."""
    count = 0
    original = traceback.StackSummary.extract.__func__  # type: ignore[attr-defined]

    def extract(cls: type, *args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        return original(cls, *args, **kwargs)
    with mock.patch.object(traceback.StackSummary, "extract", classmethod(extract)):
        function()
    return count


class _Elsewhere(_Debug):
    """The same client, with a server that blocks in a thread and so extracts no stack."""

    async def test(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            thread = threading.Thread(target=self._serve, args=(listener,))
            thread.start()
            await client(listener.getsockname())
            thread.join()

    @staticmethod
    def _serve(listener: socket.socket) -> None:
        accepted, _ = listener.accept()
        with accepted:
            got = accepted.recv(64)
            assert got == REQUEST
            accepted.sendall(REPLY)
            got = accepted.recv(64)
            assert not got


def _above(case: type[_Debug]) -> int:
    def captured(which: type[_Debug]) -> int:
        _run(which, True)
        return min(_count(lambda: _run(which, True)) for _ in range(3))
    return captured(case) - captured(_Elsewhere)


def captures_of_our_server() -> int:
    """How many stacks a trivial test extracts because of our server: in all, without those of its client."""
    return _above(_Ours)


def captures() -> Scenario:
    """The count for our server and for those by hand."""
    return Scenario("captures", "stack captures in debug mode", "", Goal(16),
                    {OURS: lambda: _above(_Ours), STREAMS: lambda: _above(_Streams), RAW: lambda: _above(_Raw)},
                    once=True)
