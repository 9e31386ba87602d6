"""The options of a test's servers under pytest: where they are set, which setting wins, and how values are checked.

    the server's default < ini file < command line < marker of the module < of the class < of the function

- Values in the ini file and on the command line are checked before any test runs. An invalid one stops the session.
- A marker is checked when a test with it asks for a server. An invalid one fails that test.
- `timeout_scale` takes precedence over an environment variable: it sets the variable while the session lasts, and
  restores it afterwards.
"""

from __future__ import annotations

import os
from typing import Any, Optional, Union

import pytest

from tcpclient_testing.engine.steps.timing import SCALE
from tcpclient_testing.server.options import no_such_option, option_names
from tcpclient_testing.server.server import MockTCPServer

__all__ = ["pytest_addoption", "pytest_configure", "pytest_unconfigure", "server_options", "wants_virtual_time"]

__unittest = True

__tracebackhide__ = True

_SCALE_BEFORE: pytest.StashKey[Optional[str]] = pytest.StashKey()
_OPTIONS = [*option_names(MockTCPServer.__init__), "virtual_time"]
_CONFIGURATION = (
    ("timeout", "SECONDS", "seconds without progress after which a step has failed, or 'none' (default: 5)"),
    ("idle_timeout", "SECONDS", ("seconds after which a complete script has failed because a client stays connected "
                                 "and nothing happens, or 'none' (default: 30)")),
    ("timeout_scale", "FACTOR", ("multiply these time-outs and those of steps, on slow machines; takes "
                                 f"precedence over the environment variable {SCALE} (default: 1)")),
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the command line and of the ini file."""
    group = parser.getgroup("tcpserver", "tcpserver (tcpclient_testing)")
    for name, metavar, meaning in _CONFIGURATION:
        group.addoption(f"--tcpserver-{name.replace('_', '-')}", dest=f"tcpserver_{name}", metavar=metavar,
                        default=None, help=f"tcpserver: {meaning}")
        parser.addini(f"tcpserver_{name}", f"tcpserver: {meaning}", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and check the options."""
    config.addinivalue_line("markers", "tcpserver(timeout=5.0, idle_timeout=30.0, virtual_time=False, ...): make the "
                            "servers of this test with these options, those of tcpclient_testing.MockTCPServer; with "
                            "virtual_time=True the clock of the test's event loop jumps over waiting; the closest "
                            "marker wins")
    for name in ("timeout", "idle_timeout"):
        _option(config, name)
    scale = _option(config, "timeout_scale")
    if scale is not None:
        config.stash[_SCALE_BEFORE] = os.environ.get(SCALE)
        os.environ[SCALE] = repr(scale)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Restore the environment variable."""
    if _SCALE_BEFORE in config.stash:
        before = config.stash[_SCALE_BEFORE]
        os.environ.pop(SCALE, None)
        if before is not None:
            os.environ[SCALE] = before


def _option(config: pytest.Config, name: str) -> Union[float, str, None]:
    """Return the value of an option: a number, "none", or None if it is not given. Raises `pytest.UsageError`."""
    text = config.getoption(f"tcpserver_{name}")
    where = f"--tcpserver-{name.replace('_', '-')}"
    if text is None:
        text, where = config.getini(f"tcpserver_{name}"), f"tcpserver_{name} in the ini file"
    if not text:
        return None
    if text.strip().lower() == "none" and name != "timeout_scale":
        return "none"
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        also = "" if name == "timeout_scale" else ", or 'none'"
        raise pytest.UsageError(f"{where} is a number greater than 0{also}, not {text!r}")
    return value


def server_options(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return the options with which the servers of a test are made: ini file, command line, then markers."""
    options: dict[str, Any] = {}
    for name in ("timeout", "idle_timeout"):
        value = _option(request.config, name)
        if value is not None:
            options[name] = None if value == "none" else value
    for marker in reversed(list(request.node.iter_markers("tcpserver"))):
        if marker.args:
            pytest.fail(f"@pytest.mark.tcpserver takes options by name, as in tcpserver(timeout=2.0), not "
                        f"{marker.args[0]!r}", pytrace=False)
        for name in marker.kwargs:
            _check_option(name)
        options.update(marker.kwargs)
    options.pop("virtual_time", None)
    return options


def _check_option(name: str) -> None:
    if name not in _OPTIONS:
        pytest.fail(f"@pytest.mark.tcpserver: {no_such_option(name, _OPTIONS)}", pytrace=False)


def wants_virtual_time(node: Any) -> bool:
    """Whether `node` asks for virtual time: the closest marker that gives `virtual_time` decides.

    `node` is a test, or what shares a fixture: a class or a module, for example.
    """
    for marker in node.iter_markers("tcpserver"):
        if "virtual_time" in marker.kwargs:
            wanted = marker.kwargs["virtual_time"]
            if not isinstance(wanted, bool):
                pytest.fail(f"@pytest.mark.tcpserver: virtual_time is True or False, not {wanted!r}", pytrace=False)
            return wanted
    return False
