"""What has led to an exception: its parts, where it is a group, and what each of them came of."""

from __future__ import annotations

from typing import Any

__all__ = ["chain_of", "parts_of"]

__unittest = True


def parts_of(exc: BaseException) -> list[BaseException]:
    """The exceptions of a group, and of the groups in it; of one that is no group, itself.

    A `TaskGroup` raises groups, which Python has from 3.11 on; the package ``exceptiongroup`` has them before.
    """
    if not any(base.__name__ == "BaseExceptionGroup" for base in type(exc).__mro__):
        return [exc]
    group: Any = exc
    return [part for each in group.exceptions for part in parts_of(each)]


def chain_of(exc: BaseException) -> list[BaseException]:
    """An exception, and those that led to it, and the parts of those that are groups."""
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
