"""What a case of the contract is: a script, a body, and what comes of them."""

from __future__ import annotations

from typing import Any, Callable, NamedTuple, Optional

from .bodies import Body, Tools

__all__ = ["PASSES", "SKIPS", "Case", "Expected", "fails", "raises"]


class Expected(NamedTuple):
    """The outcome of a test: the kind of its one report, and a regular expression that is found in it."""

    kind: str
    pattern: str = ""
    shows: str = ""  # found anywhere in the report, with its sections
    skips: bool = False  # whether a part of the test is skipped
    following: Optional[Expected] = None  # what a second report tells

    def and_then(self, following: Expected) -> Expected:
        """There is a second report."""
        return self._replace(following=following)


PASSES = Expected("passes")
SKIPS = Expected("skips", skips=True)


def fails(pattern: str, shows: str = "") -> Expected:
    """The verdict is the one report; its first line matches."""
    return Expected("fails", pattern, shows)


def raises(pattern: str, shows: str = "the conversation|script") -> Expected:
    """The test's own exception is the one report; its text matches, and the conversation is with it."""
    return Expected("raises", pattern, shows)


class Case(NamedTuple):
    """One case.

    - `options`: those of the server; `tls`: what the client's TLS needs, True for the package's own authority.
    - `script`: writes it; `body`: the test method, in which the client runs.
    - `set_up`, `tear_down`, `clean_up`: other parts of a test that has them.
    - `only`: the kind of server that has it: "asynchronous" or "threaded"; `parts`: whether it needs parts of a test;
      `interrupted`: whether the body has to be interrupted.
    - `waits`: whether a moment of the library's own passes: these are shortened then.
    - `sockets`: whether it needs sockets of the operating system.
    - `lasts`: whether it lasts longer than 50 ms.
    - `needs`: what has to be there: see `tests.support.platforms.has`.
    """

    name: str
    expected: Expected
    body: Callable[[Tools], Body]
    script: Callable[[Any], Any] = lambda server: None
    options: Callable[[], dict[str, Any]] = dict
    tls: Any = None
    set_up: Optional[Callable[[Tools], Body]] = None
    tear_down: Optional[Callable[[Tools], Body]] = None
    clean_up: Optional[Callable[[Tools], Body]] = None
    only: str = ""
    parts: bool = False
    marks: tuple[str, ...] = ()
    interrupted: bool = False
    waits: bool = False
    sockets: bool = False
    lasts: bool = False
    needs: str = ""
