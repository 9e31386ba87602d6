"""Checks the time-outs of steps as scripts give them: `timeout=`, `within=` and `after=`, in seconds."""

from __future__ import annotations

from typing import Any

from .arguments import checked_seconds
from .steps import DEFAULT_TIMING, Timing

__all__ = ["SCALE", "UNSET", "timing_of"]

__unittest = True


#: The name of the environment variable that multiplies time-outs, for slow machines.
SCALE = "TCPCLIENT_TESTING_TIMEOUT_SCALE"


class _Unset:
    """The default of `timeout=`: the time-out of the server."""

    def __repr__(self) -> str:
        return "the server's"


UNSET: Any = _Unset()


def timing_of(method: str, timeout: Any, within: Any, after: Any = None) -> Timing:
    """Return the checked time-outs of a step, all in seconds; `method` is named in errors.

    Raises `TypeError` if one is not a number, and `ValueError` if one is negative or if `after` exceeds `within`.
    """
    if timeout is UNSET and within is None and after is None:
        return DEFAULT_TIMING
    checked = None if timeout is UNSET else checked_seconds(f"{method}(timeout=...)", timeout)
    within = checked_seconds(f"{method}(within=...)", within)
    after = checked_seconds(f"{method}(after=...)", after)
    if within is not None and after is not None and after > within:
        raise ValueError(f"{method}(after={after:g}, within={within:g}) can't be: after is later than within")
    # within=30 alone means thirty seconds: the server's time-out does not apply.
    return Timing(checked, within, after, timeout is UNSET and within is None)
