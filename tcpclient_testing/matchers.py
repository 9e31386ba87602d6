"""Matchers, which decide whether a message is the expected one. Pass one to any step that expects a message.

Plain bytes match themselves. `Regex`, `Predicate`, `StartsWith`, `JSON`, `Struct` and `Digest` describe messages of
which not every byte is known beforehand. `anything` accepts every message. To write your own, subclass `Matcher`::

    class Even(Matcher[int]):
        def match(self, message):
            number = int(message)
            if number % 2:
                return Mismatch(f"expected an even number, got {number}")
            return Match(number)

The value in the `Match` that `match` returns is the result of the step. If `match` raises, that is a mismatch, too.
"""

from __future__ import annotations

from .engine.matching.base import Judge, Match, Matcher
from .engine.matching.digest import Digest
from .engine.matching.exact import Exactly, StartsWith
from .engine.matching.json_text import JSON
from .engine.matching.patterns import Predicate, Regex, anything
from .engine.matching.structure import Struct
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
