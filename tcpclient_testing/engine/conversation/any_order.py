"""The `any_order()` block of a connection: messages that may come in any order.

A unit is an expectation and the actions written below it. A conversation remains a list of steps with one cursor: when
an expectation of the block is met, its unit is moved to the cursor. So the steps end up in the order in which the
client did them, and satisfied steps come before missing ones, in reports too.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.engine.steps.base import Script, Step
from tcpclient_testing.errors import ScriptError

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

__all__ = ["Block", "Unordered", "listed", "places"]

__unittest = True

# How many steps one line names at most. If there are more, each of them gets its own line below.
_NAMED = 4


class Unordered:
    """The steps of one block.

    - `start`: the index of its first step; valid while the block is being written
    - `opened`: when the block was opened, in seconds of the clock
    - `remind`: makes sure that a client which waits for the block to end is noticed
    - `count`: how many expectations it has in all
    - `units`: the units whose expectation is still open
    - `turn`: when the block's turn came, in seconds of the clock; None before
    """

    __slots__ = ("start", "opened", "remind", "units", "turn", "count")

    def __init__(self, start: int, opened: float, remind: Callable[[], None]) -> None:
        self.start = start
        self.opened = opened
        self.remind = remind
        self.count = 0
        self.units: list[list[Step[Any]]] = []
        self.turn: Optional[float] = None

    def check(self, step: Step[Any]) -> None:
        """Raise `ScriptError` if `step` is not possible in such a block."""
        if not step.is_expectation:
            if not self.units:
                raise ScriptError(f"{step} has no place at the beginning of any_order(): an action belongs to the "
                                  "expectation written above it; write it before the block")
            if not step.fits_any_order():
                raise ScriptError(f"{step} has no place in any_order(): what is still missing could not come after it")
        elif not step.reads:
            raise ScriptError(f"{step} has no place in any_order(): only messages can come in any order; write it "
                              "after the block")
        elif not step.begins_alone():
            raise ScriptError(f"{step} has no place in any_order(): its length depends on the result of the "
                              "expectation before it, and in this block that may be any of them")

    def add(self, step: Step[Any]) -> None:
        """Add a step, which was appended to the script, to the block."""
        if step.is_expectation:
            self.units.append([step])
            self.count += 1
        else:
            self.units[-1].append(step)

    def heads(self) -> list[Step[Any]]:
        """Return the expectations that are still open, in the order in which they were written."""
        return [unit[0] for unit in self.units]

    def missing(self) -> str:
        """Say which messages have not come: "2 of 3 messages in any order are missing: ..."."""
        heads = self.heads()
        return (f"{len(heads)} of {self.count} messages in any order {'is' if len(heads) == 1 else 'are'} missing: "
                f"{listed(heads, 'and')}")

    def move_up(self, step: Step[Any], script: Script) -> None:
        """Move the unit of `step`, which is met, before the units that are still open."""
        unit = next(unit for unit in self.units if unit[0] is step)
        self.units.remove(unit)
        script.put_in_order(script.cursor.position, [*unit, *(step for other in self.units for step in other)])

    def limits(self, environment: Environment, turn: float) -> tuple[Optional[float], Optional[float]]:
        """Return the `timeout` and the `within` of the block, in seconds: the shortest of its open expectations.

        `within` counts from the block's turn, which begins with the `turn` of its first step. None is no limit.
        """
        if self.turn is None:
            self.turn = turn
        limits = [head.timing.limits(environment) for head in self.heads()]
        withins = [within for _, within in limits if within is not None]
        return (min((timeout for timeout, _ in limits if timeout is not None), default=None),
                max(0.0, min(withins) - (turn - self.turn)) if withins else None)


def listed(steps: Sequence[Step[Any]], joint: str) -> str:
    """Name these steps in one line: the first few of them, and how many more there are."""
    names = [f"{step}{step.whereabouts()}" for step in steps[:_NAMED]]
    if len(steps) > _NAMED:
        names.append(f"{len(steps) - _NAMED} more")
    return f" {joint} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def places(steps: Sequence[Step[Any]]) -> tuple[str, ...]:
    """Return lines that say where each of these steps was written, if they are too many for one line; else none."""
    if len(steps) <= _NAMED:
        return ()
    return ("missing", *(f"  {step}{step.whereabouts()} at {step.lines()[0]}" for step in steps))


class Block:
    """The result of `any_order()`: a context manager. Use it once, in a `with` statement."""

    __slots__ = ("_enter", "_leave")

    def __init__(self, enter: Callable[[], None], leave: Callable[[bool], None]) -> None:
        self._enter = enter
        self._leave = leave

    def __enter__(self) -> None:
        self._enter()

    def __exit__(self, exc_type: Optional[type[BaseException]], exc: Optional[BaseException],
                 traceback: Optional[TracebackType]) -> None:
        try:
            self._leave(exc_type is None)
        except Exception:
            # If the body of the block raised, let that exception pass. Leaving the server reports on the script.
            if exc_type is None:
                raise
