"""The time-outs of steps, as they are written: `timeout=`, `within=` and `after=`, in seconds."""

from __future__ import annotations

from typing import Any

from .arguments import checked_seconds
from .steps import DEFAULT_TIMING, Timing

__all__ = ["SCALE", "UNSET", "timing_of"]

__unittest = True


#: The environment variable that multiplies time-outs, on slow machines.
SCALE = "TCPCLIENT_TESTING_TIMEOUT_SCALE"


class _Unset:
    """The default of `timeout=`: what the server says."""

    def __repr__(self) -> str:
        return "the server's"


UNSET: Any = _Unset()


def timing_of(method: str, timeout: Any, within: Any, after: Any = None) -> Timing:
    """Check the time-outs of a step."""
    if timeout is UNSET and within is None and after is None:
        return DEFAULT_TIMING
    checked = None if timeout is UNSET else checked_seconds(f"{method}(timeout=...)", timeout)
    within = checked_seconds(f"{method}(within=...)", within)
    after = checked_seconds(f"{method}(after=...)", after)
    if within is not None and after is not None and after > within:
        raise ValueError(f"{method}(after={after:g}, within={within:g}) can't be: after is later than within")
    # Who says within=30 means thirty seconds, whatever the server's time-out is.
    return Timing(checked, within, after, timeout is UNSET and within is None)
