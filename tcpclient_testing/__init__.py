"""Test TCP clients against a real server that follows a script.

This package has the names that a plain test needs; more are in `tcpclient_testing.matchers`,
`tcpclient_testing.framing` and `tcpclient_testing.tls`. Names that not every test uses are loaded on first use:
what needs `unittest`, for example, and what only a failure needs.
"""

from typing import TYPE_CHECKING, Any

from .engine.steps.base import Step
from .errors import ScriptError
from .server.connection import Connection
from .server.server import MockTCPServer

if TYPE_CHECKING:
    from .aio.sockets.unanswering import UnansweringAddress
    from .network.conditions import Network
    from .report.report import ExpectationError
    from .server.threaded.runtime import ThreadedConnection
    from .server.threaded.server import ThreadedMockTCPServer
    from .testcase import MockTCPServerMixin, ThreadedMockTCPServerMixin
    from .virtual_time.loop import VirtualClockEventLoop
    from .virtual_time.policies import virtual_policy

__all__ = [
    "Connection", "ExpectationError", "MockTCPServer", "MockTCPServerMixin", "Network", "ScriptError", "Step",
    "ThreadedConnection", "ThreadedMockTCPServer", "ThreadedMockTCPServerMixin", "UnansweringAddress",
    "VirtualClockEventLoop", "virtual_policy",
]

_LAZY = {
    "ExpectationError": "report.report",
    "MockTCPServerMixin": "testcase",
    "Network": "network.conditions",
    "ThreadedConnection": "server.threaded.runtime",
    "ThreadedMockTCPServer": "server.threaded.server",
    "ThreadedMockTCPServerMixin": "testcase",
    "UnansweringAddress": "aio.sockets.unanswering",
    "VirtualClockEventLoop": "virtual_time.loop",
    "virtual_policy": "virtual_time.policies",
}


_MODULES = ("framing", "matchers", "network", "tls")


def __getattr__(name: str) -> Any:
    from importlib import import_module
    if name in _LAZY:
        return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, *(name for name in globals() if name.startswith("__"))})
