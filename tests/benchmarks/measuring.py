"""How benchmarks are measured: contestants run in turns, in one process, and each round gives a ratio.

Absolute figures drift by half on a shared machine; the ratio of two runs that follow one another drifts far less, and
the median of many such ratios less again. Times are CPU times wherever one thread does the work, since other programs
can't add to them.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Mapping
from typing import Callable, Optional

__all__ = ["OURS", "RAW", "STREAMS", "Goal", "Outcome", "Scenario", "Skip", "measure"]

OURS = "ours"
STREAMS = "streams"
RAW = "raw"

_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "KiB": 1 / 1024, "MiB": 1 / 1024 / 1024, "": 1.0}


class Skip(Exception):
    """A scenario can't be run here; the text says why."""


class Goal:
    """What is to be reached: at most `limit` times what `beside` costs, or, without `beside`, at most `limit`."""

    def __init__(self, limit: float, beside: Optional[str] = None) -> None:
        self.limit = limit
        self.beside = beside


class Scenario:
    """One row of the table: a piece of work, done by several contestants.

    Each contestant does the work once and returns what it has cost, in seconds (or bytes, or a count). `unit` is how
    figures are shown: s, ms, us, KiB, MiB, or nothing. A contestant that costs always the same runs in one round.
    """

    def __init__(self, name: str, title: str, unit: str, goal: Optional[Goal],
                 contestants: Mapping[str, Callable[[], float]], *, once: bool = False) -> None:
        self.name = name
        self.title = title
        self.unit = unit
        self.goal = goal
        self.contestants = contestants
        self.once = once


class Outcome:
    """What was measured: the median `figures` in the scenario's unit, and the median `ratios` of ours to the others."""

    def __init__(self, scenario: Scenario, costs: Mapping[str, list[float]]) -> None:
        scale = _UNITS[scenario.unit]
        ours = costs[OURS]
        self.scenario = scenario
        self.figures = {name: statistics.median(values) * scale for name, values in costs.items()}
        self.ratios = {name: statistics.median(mine / other for mine, other in zip(ours, values) if other)
                       for name, values in costs.items() if name != OURS and any(values)}

    @property
    def reached(self) -> Optional[float]:
        """What the goal is compared with: a ratio, or our figure; None without a goal."""
        goal = self.scenario.goal
        if goal is None:
            return None
        return self.figures[OURS] if goal.beside is None else self.ratios[goal.beside]

    @property
    def met(self) -> Optional[bool]:
        """Whether the goal is met."""
        goal, reached = self.scenario.goal, self.reached
        return None if goal is None or reached is None else reached <= goal.limit

    def as_dict(self) -> dict[str, object]:
        """The outcome as JSON has it."""
        goal = self.scenario.goal
        return {"name": self.scenario.name, "title": self.scenario.title, "unit": self.scenario.unit,
                "figures": self.figures, "ratios": self.ratios, "reached": self.reached, "met": self.met,
                "goal": None if goal is None else {"limit": goal.limit, "beside": goal.beside}}


def measure(scenario: Scenario, rounds: int) -> Outcome:
    """Let the contestants run in turns, `rounds` times after a first one that doesn't count."""
    costs: dict[str, list[float]] = {name: [] for name in scenario.contestants}
    names = list(scenario.contestants)
    if not scenario.once:
        for name in names:
            scenario.contestants[name]()
    for turn in range(1 if scenario.once else rounds):
        # Nobody always goes first, and nobody pays for another one's garbage.
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            gc.collect()
            costs[name].append(scenario.contestants[name]())
    return Outcome(scenario, costs)
