"""All cases of the contract, by name."""

from __future__ import annotations

from . import beside, clearing, endings, failures, leaving, options, subtests, waiting
from .case import Case

CASES: dict[str, Case] = {case.name: case for case in (
    *options.CASES, *failures.CASES, *leaving.CASES, *endings.CASES, *clearing.CASES, *beside.CASES,
    *subtests.CASES, *waiting.CASES)}
