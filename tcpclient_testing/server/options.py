"""The options of a server: each is checked here, and time-outs get their scale. Every script of the server has them."""

from __future__ import annotations

import os
from math import isfinite
from typing import TYPE_CHECKING, Any, Callable, NamedTuple, Optional

from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.steps.timing import SCALE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tcpclient_testing.engine.framing.base import Framing
    from tcpclient_testing.network.conditions import Network

__all__ = [
    "ServerOptions", "checked_grace", "checked_name", "checked_timeout", "checked_unix_path", "no_such_option",
    "option_names", "timeout_scale",
]

__unittest = True


class ServerOptions(NamedTuple):
    """The options of a `MockTCPServer`, checked.

    - `timeout`, `idle_timeout`, `pipelining_grace`: multiplied by the scale.
    - `timeouts_given`: whether the test has chosen the first two.
    - `address`: host, port, and whether other machines may reach them.
    - `settings`: those of the engine's `Environment` that differ from its defaults.
    - `handler`: with the context in which it was given to the server.
    """

    address: tuple[Optional[str], int, bool]
    unix_path: Optional[str]
    timeout: Optional[float]
    idle_timeout: Optional[float]
    timeouts_given: tuple[bool, bool]
    settings: dict[str, Any]
    framing: Framing
    ending: bytes
    watch_streams: bool
    allow_open: bool
    allow_extra: bool
    cancel_body: bool
    transcript_limit: int
    handler: Any
    network: Optional[Network]
    pipelining_grace: float
    outside_clients: bool
    in_memory: bool
    name: Optional[str]


def option_names(init: Callable[..., None]) -> list[str]:
    """Return the names of the options that a server's `__init__` takes."""
    import inspect
    return [name for name in inspect.signature(init).parameters if name not in ("self", "unknown")]


def no_such_option(name: str, known: Sequence[str]) -> str:
    """Say that servers have no such option, and which of those that are `known` was perhaps meant."""
    import difflib
    close = difflib.get_close_matches(name, known, 1)
    return f"a server has no option {name!r}; " + (f"did you mean {close[0]!r}?" if close
                                                   else f"there are {', '.join(known)}")


def checked_name(name: Any) -> Optional[str]:
    """Check the name of a server, and return it."""
    if name is None:
        return None
    if not isinstance(name, str):
        raise TypeError(f"MockTCPServer(name=...) is a str such as 'primary', not {type(name).__name__}: {name!r}")
    if not name or not name.isprintable():
        raise ValueError(f"MockTCPServer(name=...) is a text of one line, not {name!r}")
    return name


def checked_unix_path(path: Any, host: Any, port: Any) -> str:
    """Check the path of a Unix-domain socket, which excludes `host` and `port`, and return it."""
    from tcpclient_testing.aio.sockets.unix import checked_path
    return checked_path(path, host, port)


def checked_timeout(name: str, value: Any) -> Optional[float]:
    """Check a default time-out, in seconds, and return it."""
    return checked_seconds(f"MockTCPServer({name}=...)", value, positive=True)


def checked_grace(value: Any) -> float:
    """Check how long to look for more before an answer, in seconds, and return it."""
    seconds = checked_seconds("MockTCPServer(pipelining_grace=...)", value)
    if seconds is None:
        raise ValueError(f"MockTCPServer(pipelining_grace=...) is a number of seconds, not {value!r}; 0 is none at all")
    return seconds


def timeout_scale() -> float:
    """Return the factor for time-outs on slow machines, from the environment; 1 if it is not set."""
    scale = os.environ.get(SCALE)
    if not scale:
        return 1.0
    try:
        factor = float(scale)
    except ValueError:
        factor = 0.0
    if not (isfinite(factor) and factor > 0):
        raise ValueError(f"{SCALE} is a number greater than 0, not {scale!r}")
    return factor
