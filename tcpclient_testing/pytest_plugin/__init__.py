"""pytest: fixtures that give a test its servers, and hooks that make a server's verdict the test's own.

pytest loads this package through its entry point. It finds the hooks and the fixtures by the names below.
"""

from .fixtures import (
    TCPServerFactory,
    ThreadedTCPServerFactory,
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
    "tcpserver", "tcpserver_factory", "threaded_tcpserver", "threaded_tcpserver_factory", "_tcpserver_anyio_loop",
    "pytest_addoption", "pytest_configure", "pytest_unconfigure", "pytest_fixture_setup", "pytest_runtest_setup",
    "pytest_runtest_call", "pytest_runtest_teardown", "pytest_runtest_makereport", "pytest_report_teststatus",
]
