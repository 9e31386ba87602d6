"""Matchers: what may stand in a script wherever a message is expected.

Plain bytes match themselves. `Regex`, `Predicate`, `StartsWith`, `JSON`, `Struct` and `Digest` describe messages of
which not every byte is known beforehand, `anything` accepts all of them. For one of your own, subclass `Matcher`::

    class Even(Matcher[int]):
        def match(self, message):
            number = int(message)
            if number % 2:
                return Mismatch(f"expected an even number, got {number}")
            return Match(number)

What `match` puts into the `Match` is the result of the step. If it raises, that is a mismatch, too.
"""

from __future__ import annotations

from .engine.matchers import (
    JSON,
    Digest,
    Exactly,
    Judge,
    Match,
    Matcher,
    Predicate,
    Regex,
    StartsWith,
    Struct,
    anything,
)
from .engine.mismatches import Mismatch

__all__ = [
    "anything",
    "Digest",
    "Exactly",
    "JSON",
    "Predicate",
    "Regex",
    "StartsWith",
    "Struct",
    "Match",
    "Matcher",
    "Mismatch",
    "Judge",
]
