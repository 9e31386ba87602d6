"""pytest: fixtures that give a test its servers, and hooks that make a server's verdict the test's own.

pytest loads this package through its entry point, and finds hooks and fixtures by the names below.
"""

from __future__ import annotations

from typing import Any

try:
    import pytest  # noqa: F401
except ImportError:
    # Tools that import every package, such as `python -m unittest`, import this one without pytest as well.
    pass
else:
    from .fixtures import (
        TCPServerFactory,
        ThreadedTCPServerFactory,
        _session_tcpserver,
        borrow_tcpserver,
        shared_threaded_tcpserver,
        tcpserver,
        tcpserver_factory,
        threaded_tcpserver,
        threaded_tcpserver_factory,
    )
    from .hooks import (
        pytest_fixture_setup,
        pytest_report_teststatus,
        pytest_runtest_call,
        pytest_runtest_makereport,
        pytest_runtest_setup,
        pytest_runtest_teardown,
    )
    from .loops import _tcpserver_anyio_loop
    from .options import pytest_addoption, pytest_configure, pytest_unconfigure

__all__ = [
    "TCPServerFactory", "ThreadedTCPServerFactory",
    # What pytest finds here.
    "tcpserver", "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory", "borrow_tcpserver",
    "shared_threaded_tcpserver", "_session_tcpserver", "_tcpserver_anyio_loop",
    "pytest_addoption", "pytest_configure", "pytest_unconfigure", "pytest_fixture_setup", "pytest_runtest_setup",
    "pytest_runtest_call", "pytest_runtest_teardown", "pytest_runtest_makereport", "pytest_report_teststatus",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        import pytest  # noqa: F401 - raises ImportError, which says what is missing
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
