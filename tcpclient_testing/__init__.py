"""Test TCP clients against a real server that follows a script.

This package has the names that a plain test needs; more are in `tcpclient_testing.matchers`,
`tcpclient_testing.framing` and `tcpclient_testing.tls`. Names that not every test uses are loaded on first use:
what needs `unittest`, for example, and what only a failure needs.
"""

from typing import TYPE_CHECKING, Any

from .aio.handle import Connection
from .aio.server import MockTCPServer
from .engine.steps import Step
from .errors import ScriptError

if TYPE_CHECKING:
    from .aio.clock import VirtualClockEventLoop, virtual_policy
    from .aio.unanswering import UnansweringAddress
    from .network.conditions import Network
    from .report import ExpectationError
    from .testcase import MockTCPServerMixin, ThreadedMockTCPServerMixin
    from .threaded import ThreadedConnection, ThreadedMockTCPServer

__all__ = [
    "Connection", "ExpectationError", "MockTCPServer", "MockTCPServerMixin", "Network", "ScriptError", "Step",
    "ThreadedConnection", "ThreadedMockTCPServer", "ThreadedMockTCPServerMixin", "UnansweringAddress",
    "VirtualClockEventLoop", "virtual_policy",
]

_LAZY = {
    "ExpectationError": "report",
    "MockTCPServerMixin": "testcase",
    "Network": "network.conditions",
    "ThreadedConnection": "threaded",
    "ThreadedMockTCPServer": "threaded",
    "ThreadedMockTCPServerMixin": "testcase",
    "UnansweringAddress": "aio.unanswering",
    "VirtualClockEventLoop": "aio.clock",
    "virtual_policy": "aio.clock",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from importlib import import_module
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
