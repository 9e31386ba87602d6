"""How the cost grows with the number of expectations and of connections: a table, with fitted exponents."""

from __future__ import annotations

import asyncio
import gc
import statistics
from math import log
from typing import Callable

from .clients import resource_limit
from .crowds import connections_cost
from .streaming import _messages, pipelined_cost

__all__ = ["exponent", "growth_table"]


def _expectations(count: int) -> float:
    messages = _messages(count)
    return asyncio.run(pipelined_cost(messages, b"".join(messages)))


def _connections(count: int) -> float:
    return asyncio.run(connections_cost(count))


def exponent(points: list[tuple[int, float]]) -> float:
    """Fit cost = a * number ** exponent by least squares of the logarithms."""
    xs, ys = [log(number) for number, _ in points], [log(cost) for _, cost in points]
    x_mean, y_mean = statistics.fmean(xs), statistics.fmean(ys)
    return sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys)) / sum((x - x_mean) ** 2 for x in xs)


def _series(title: str, cost: Callable[[int], float], largest: int) -> list[str]:
    nothing = statistics.median(cost(1) for _ in range(5))
    lines = [f"{title:>14}{'seconds':>12}{'us each':>10}"]
    points, number = [], 1
    while number <= largest:
        rounds = 5 if number < 10_000 else 1
        gc.collect()
        seconds = statistics.median(cost(number) for _ in range(rounds))
        lines.append(f"{number:>14,}{seconds:>12.4f}{seconds / number * 1e6:>10.2f}")
        if seconds > 3 * nothing:
            points.append((number, seconds - nothing))
        number = largest if number < largest < number * 10 else number * 10
    if len(points) > 1:
        lines.append(f"{'exponent':>14}{exponent(points):>12.2f}   (of what exceeds the cost of one)")
    return lines


def growth_table(*, quick: bool) -> str:
    """CPU seconds for 1 to a million expectations, and for 1 to ten thousand connections.

    Both ends of a connection are in this process: fewer connections where it may not have as many open files.
    """
    most = 100 if quick else (resource_limit(2 * 10_000 + 200) - 200) // 2
    return "\n".join([*_series("expectations", _expectations, 10_000 if quick else 1_000_000), "",
                      *_series("connections", _connections, most)])
