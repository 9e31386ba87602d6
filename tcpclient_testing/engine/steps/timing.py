"""The time-outs of a step as a script gives them: `timeout=`, `within=` and `after=`, in seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Optional

from tcpclient_testing.engine.arguments import checked_seconds

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

__all__ = ["DEFAULT_TIMING", "SCALE", "UNSET", "UNTIMED", "Timing", "timing_of"]

__unittest = True

#: The name of the environment variable that multiplies time-outs, for slow machines.
SCALE = "TCPCLIENT_TESTING_TIMEOUT_SCALE"


class Timing:
    """How long a step may take, in seconds; None means no limit.

    - `timeout`: the longest time without progress, once it is the step's turn.
    - `within`: the longest time in all.
    - `after`: the step must not be satisfied before this time.
    - `default`: use the server's time-out instead of `timeout`.

    These are the values as written; `limits` returns those that apply.
    """

    __slots__ = ("timeout", "within", "after", "default")

    def __init__(self, timeout: Optional[float], within: Optional[float], after: Optional[float],
                 default: bool) -> None:
        self.timeout = timeout
        self.within = within
        self.after = after
        self.default = default

    def limits(self, environment: Environment) -> tuple[Optional[float], Optional[float]]:
        """Return the `timeout` and `within` that apply on a server: its default, or what is written times its scale.

        With `after`, only the time from `after` to `within` is multiplied.
        """
        timeout, within, after = self.timeout, self.within, self.after or 0.0
        if self.default:
            timeout = environment.timeout
        elif timeout is not None:
            timeout *= environment.scale
        return timeout, None if within is None else after + (within - after) * environment.scale


DEFAULT_TIMING: Final = Timing(None, None, None, True)

UNTIMED: Final = Timing(None, None, None, False)


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
