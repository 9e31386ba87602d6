"""Lists what led to an exception: its causes and contexts, and the parts of exception groups."""

from __future__ import annotations

from typing import Any

__all__ = ["chain_of", "parts_of"]

__unittest = True


def parts_of(exc: BaseException) -> list[BaseException]:
    """Return the exceptions in a group, and in the groups inside it; for any other exception, just itself.

    A `TaskGroup` raises groups. Python has them from 3.11 on, the package ``exceptiongroup`` for older versions.
    """
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(exc).__mro__):
        return [exc]
    group: Any = exc
    return [part for each in group.exceptions for part in parts_of(each)]


def chain_of(exc: BaseException) -> list[BaseException]:
    """Return an exception, the exceptions that led to it (cause or context), and the parts of those that are groups."""
    chain: list[BaseException] = []
    found = [exc]
    while found:
        each = found.pop()
        if each not in chain:
            chain.append(each)
            before = each.__cause__ or each.__context__
            found += [part for part in parts_of(each) if part is not each]
            found += [] if before is None else [before]
    return chain
