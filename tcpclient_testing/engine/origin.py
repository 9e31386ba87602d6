"""Where a step was written: the source lines that a report names.

Recording an origin must cost next to nothing, since it is done for each step of each script. So an origin is a plain
tuple of pairs, each a code object and an instruction offset. File and line are determined only when a report needs them
(see `source_lines`).

A step written in a helper function also keeps the chain of its callers, up to the frame that a framework entered. So
the report can name both the helper's line and the test's.
"""

from __future__ import annotations

from types import CodeType, FrameType
from typing import Any, Optional

__all__ = ["LabelledOrigin", "Origin", "label_of", "origin_of"]

Origin = tuple[tuple[CodeType, int], ...]

# Packages whose frames are never the test's own. The frames above them don't help the reader of a report.
_FRAMEWORKS = frozenset({"asyncio", "unittest", "_pytest", "pluggy", "threading", "concurrent", "runpy", "anyio",
                         "contextlib", "pytest_asyncio", "tcpclient_testing"})

_LONGEST_CHAIN = 6

_PACKAGE = "tcpclient_testing"

# Whether a module belongs to a framework, by its name; for the modules seen so far.
_known: dict[Any, bool] = {}

# A cache, since loops write many steps in few places: these share their origins. It has the latest origin for each
# instruction offset: the code object, the callers' part of the origin, the whole origin, and the code object that
# called the outermost line.
_recent: dict[int, tuple[CodeType, Origin, Origin, CodeType]] = {}

_MOST_RECENT = 1000


class LabelledOrigin(tuple):  # type: ignore[type-arg] # of pairs, as every origin
    """The origin of a step that has a `label`. The label stands here, so that steps without one cost nothing."""

    label: str

    @classmethod
    def of(cls, origin: Origin, label: object) -> LabelledOrigin:
        """Return the origin with its label; raise `TypeError` or `ValueError` if it can't be one."""
        if not isinstance(label, str):
            raise TypeError(f"label=... is a str such as 'login', not {type(label).__name__}: {label!r}")
        if not label or not label.isprintable():
            raise ValueError(f"label=... is a text of one line, not {label!r}")
        labelled = cls(origin)
        labelled.label = label
        return labelled


def label_of(origin: Origin) -> Optional[str]:
    """Return the label that was given where a step was written; None if there is none."""
    return getattr(origin, "label", None)


def origin_of(frame: FrameType, label: Optional[str] = None) -> Origin:
    """Record where `frame` is now, and its callers up to the framework that runs the test; and the label of a step."""
    if label is not None:
        return LabelledOrigin.of(origin_of(frame), label)
    recent = _recent.get(frame.f_lasti)
    if recent is not None and recent[0] is frame.f_code:
        _, callers, origin, above = recent
        walker = frame.f_back
        for code, offset in callers:
            if walker is None or walker.f_code is not code or walker.f_lasti != offset:
                break
            walker = walker.f_back
        else:
            if walker is not None and walker.f_code is above:
                return origin
    return _new_origin(frame)


def _new_origin(frame: FrameType) -> Origin:
    if frame.f_back is not None and _is_ours(frame):
        return origin_of(frame.f_back)  # a subclass in this package passed the call on
    chain = [(frame.f_code, frame.f_lasti)]
    walker: Optional[FrameType] = frame.f_back
    while walker is not None and len(chain) < _LONGEST_CHAIN and not _is_framework(walker):
        chain.append((walker.f_code, walker.f_lasti))
        walker = walker.f_back
    origin = tuple(chain)
    if walker is not None:
        if len(_recent) >= _MOST_RECENT:
            _recent.clear()
        code, offset = chain[0]
        _recent[offset] = code, origin[1:], origin, walker.f_code
    return origin


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__package__")).partition(".")[0] == _PACKAGE


def _is_framework(frame: FrameType) -> bool:
    name = frame.f_globals.get("__name__")
    known = _known.get(name)
    if known is None:
        known = _known[name] = str(name).partition(".")[0] in _FRAMEWORKS
    return known
