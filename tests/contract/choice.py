"""Which pairs of a case and a surrounding run: all, or those that a short run has time for.

A short run has each case in the two mixins, and spreads the cases over the other surroundings: each has an eighth
of them. It leaves out cases that last longer than 50 ms. See `tests.support.long.ALL` for all pairs.
"""

from __future__ import annotations

from tests.support.long import ALL

from .case import Case
from .cases import CASES

__all__ = ["is_chosen"]

_WHOLE = ("asynchronous_mixin", "threaded_mixin")
_PLACES = {name: place for place, name in enumerate(CASES)}


def is_chosen(surrounding: str, case: Case) -> bool:
    """Whether this pair runs."""
    if ALL or case.lasts:
        return ALL
    return surrounding in _WHOLE or (_PLACES[case.name] + sum(map(ord, surrounding))) % 8 == 0
