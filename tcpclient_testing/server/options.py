"""The options of a server: each is checked here, and time-outs get their scale."""

from __future__ import annotations

import os
from math import isfinite
from typing import Any, Optional

from tcpclient_testing.engine.arguments import checked_seconds
from tcpclient_testing.engine.steps.timing import SCALE

__all__ = ["checked_timeout", "checked_unix_path", "timeout_scale"]

__unittest = True


def checked_unix_path(path: Any, host: Any, port: Any) -> str:
    """Check the path of a Unix-domain socket, which excludes `host` and `port`, and return it."""
    from tcpclient_testing.aio.sockets.unix import checked_path
    return checked_path(path, host, port)


def checked_timeout(name: str, value: Any) -> Optional[float]:
    """Check a default time-out, in seconds, and return it."""
    return checked_seconds(f"MockTCPServer({name}=...)", value, positive=True)


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
