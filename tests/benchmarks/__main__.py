"""Run the benchmarks, and print a table: what was measured, beside what, and whether the goals are met."""

from __future__ import annotations

import argparse
import json
import platform
import sys
import warnings
from functools import partial
from typing import Callable, Optional

from .captures import captures
from .conversations import conversation_in_memory, split_conversation_in_memory
from .crowds import connections
from .growth import growth_table
from .importing import import_time
from .measuring import OURS, Outcome, Scenario, Skip, measure
from .profiling import profile_table
from .small_tests import early_verdict, trivial_test, trivial_test_without_debug
from .streaming import MIB, bulk_expectation, bulk_reply, dialogue, many_replies, pipelined
from .surroundings import pytest_fixture, threaded_server, tls

__all__ = ["main"]


def scenarios(quick: bool) -> list[tuple[str, Callable[[], Scenario], int]]:
    """The names of the scenarios, what makes each, and in how many rounds it is measured."""
    size = (16 if quick else 256) * MIB
    few, some, many = (1, 2, 3) if quick else (5, 11, 41)
    listed: list[tuple[str, Callable[[], Scenario], int]] = [
        ("trivial", trivial_test, many),
        ("trivial-nodebug", trivial_test_without_debug, many),
        ("captures", captures, 1),
        ("pipelined", partial(pipelined, 5_000 if quick else 100_000), some),
        ("each", partial(pipelined, 5_000 if quick else 100_000, as_one=True), some),
        ("bulk-expectation", partial(bulk_expectation, size, memory=False), few),
        ("bulk-expectation-memory", partial(bulk_expectation, size, memory=True), 1),
        ("bulk-reply", partial(bulk_reply, size, memory=False), few),
        ("bulk-reply-memory", partial(bulk_reply, size, memory=True), 1),
        ("replies", partial(many_replies, 400 if quick else 4_000), few),
        ("dialogue", partial(dialogue, 200 if quick else 2_000), some),
        ("connections", partial(connections, 100 if quick else 1_000, memory=False), some),
        ("connections-memory", partial(connections, 100 if quick else 1_000, memory=True), 1),
        ("in-memory", partial(conversation_in_memory, 50 if quick else 500), some),
        ("in-memory-split", partial(split_conversation_in_memory, 10 if quick else 100), some),
        ("early", early_verdict, many),
        ("import", import_time, some),
        ("threaded", partial(threaded_server, 200 if quick else 2_000), some),
        ("tls", partial(tls, size // 4), few),
        ("pytest", pytest_fixture, few),
    ]
    return listed


def main(arguments: Optional[list[str]] = None) -> int:
    """Run what the command line asks for; return the exit status, which doesn't depend on any figure."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes and few rounds: shows that it runs")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--only", action="append", metavar="NAME", help="run this scenario alone (repeatable)")
    parser.add_argument("--growth", action="store_true", help="show how the cost grows with the number of steps and "
                        "connections instead")
    parser.add_argument("--peer", metavar="PYTHON", help="an interpreter that has pytest-tcpclient (Python 3.11, "
                        "pytest<8), to run it beside")
    parser.add_argument("--profile", metavar="NAME", help="show where our side of this scenario spends its time "
                        "instead")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore", ResourceWarning)
    if options.growth:
        print(growth_table(quick=options.quick))
        return 0
    if options.peer:
        from .peer import peer_table
        print(peer_table(options.peer))
        return 0
    known = scenarios(options.quick)
    wanted = {*(options.only or ()), *([options.profile] if options.profile else [])}
    unknown = wanted - {name for name, _, _ in known}
    if unknown:
        parser.error(f"no scenario is called {', '.join(sorted(unknown))}; there are "
                     f"{', '.join(name for name, _, _ in known)}")
    if options.profile:
        print(profile_table(next(make for name, make, _ in known if name == options.profile)()))
        return 0
    outcomes: list[Outcome] = []
    if not options.json:
        print(f"Python {platform.python_version()}, {sys.platform}; medians of rounds that alternate")
        print(f"{'':46}{'ours':>10}{'streams':>10}{'raw':>10}  {'goal':>18}  reached")
    for name, make, rounds in known:
        if options.only and name not in options.only:
            continue
        try:
            outcome = measure(make(), rounds)
        except Skip as reason:
            if not options.json:
                print(f"{name:46}skipped: {reason}", flush=True)
            continue
        outcomes.append(outcome)
        if not options.json:
            print(_row(outcome), flush=True)
    if options.json:
        print(json.dumps([outcome.as_dict() for outcome in outcomes], indent=2))
    else:
        judged = [outcome for outcome in outcomes if outcome.met is not None]
        print(f"{sum(bool(outcome.met) for outcome in judged)} of {len(judged)} goals met")
    return 0


def _row(outcome: Outcome) -> str:
    scenario = outcome.scenario
    figures = "".join(f"{_number(outcome.figures.get(name)):>10}" for name in (OURS, "streams", "raw"))
    title = f"{scenario.title}{' (' + scenario.unit + ')' if scenario.unit else ''}"
    goal, reached = scenario.goal, outcome.reached
    if goal is None or reached is None:
        return f"{title:46}{figures}"
    limit = f"at most {goal.limit:.4g}" + (f" x {goal.beside}" if goal.beside else "")
    return f"{title:46}{figures}  {limit:>18}  {reached:.3g}{'' if outcome.met else '  MISSED'}"


def _number(figure: Optional[float]) -> str:
    return "" if figure is None else f"{figure:.3g}" if figure < 1000 else f"{figure:.0f}"


if __name__ == "__main__":
    sys.exit(main())
