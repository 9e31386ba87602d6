"""Where our side of a scenario spends its time: by parts of the program, and function by function."""

from __future__ import annotations

import cProfile
import pstats
from collections import Counter
from pathlib import Path
from typing import Any, Callable

import tcpclient_testing

from .measuring import OURS, Scenario

__all__ = ["profile_table"]

_PACKAGE = str(Path(tcpclient_testing.__file__).parent)
_BENCHMARKS = str(Path(__file__).parent)
_SHOWN = 20


def profile_table(scenario: Scenario) -> str:
    """Do our work once unprofiled and once profiled; return the shares of the time, greatest first.

    The profiler makes calls of Python functions dearer than those of the system: the shares are a guide, no measure.
    """
    work = scenario.contestants[OURS]
    work()
    stats = _profiled(work)
    parts: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for (file, line, name), (_, count, own, _, _) in stats.items():
        place = name if file == "~" else f"{_short(file)}:{line} {name}"
        parts[_part(file)] += own
        functions[place] += own
        calls[place] += count
    total = sum(parts.values()) or 1.0
    lines = [scenario.title, ""]
    lines += [f"{share / total:7.1%}  {part}" for part, share in parts.most_common()]
    lines += ["", f"{'own time':>8}{'calls':>10}  function"]
    lines += [f"{share / total:8.1%}{calls[place]:10,}  {place}" for place, share in functions.most_common(_SHOWN)]
    return "\n".join(lines)


def _profiled(work: Callable[[], float]) -> Any:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        work()
    finally:
        profiler.disable()
    return pstats.Stats(profiler).stats  # type: ignore[attr-defined]


def _part(file: str) -> str:
    if file == "~":
        return "built-in functions and system calls"
    if file.startswith(_PACKAGE):
        folder, _, rest = file[len(_PACKAGE) + 1:].replace("\\", "/").partition("/")
        return f"tcpclient_testing/{folder}" + ("/" if rest else "")
    if file.startswith(_BENCHMARKS):
        return "the benchmark and its client"
    return "asyncio" if "/asyncio/" in file.replace("\\", "/") else "the rest of the standard library"


def _short(file: str) -> str:
    return "/".join(file.replace("\\", "/").rsplit("/", 2)[-2:])
