"""Which pairs of a case and a surrounding run: all, or those that a short run has time for.

A short run spreads the cases over the surroundings: each mixin has one half of them, a case that only one of the two
can have included, and each other surrounding has a sixteenth. It leaves out cases that last longer than 50 ms. See
`tests.support.long.ALL` for all pairs.
"""

from __future__ import annotations

from tests.support.long import ALL
from tests.support.platforms import has

from .case import Case
from .cases import CASES

__all__ = ["is_chosen"]

_MIXINS = ("asynchronous_mixin", "threaded_mixin")
_PLACES = {name: place for place, name in enumerate(CASES)}


def is_chosen(surrounding: str, case: Case) -> bool:
    """Whether this pair runs."""
    if not has(case.needs):
        return False
    if ALL or case.lasts:
        return ALL
    if surrounding in _MIXINS:
        return bool(case.only) or _MIXINS[_PLACES[case.name] % 2] == surrounding
    return (_PLACES[case.name] + sum(map(ord, surrounding))) % 16 == 0
