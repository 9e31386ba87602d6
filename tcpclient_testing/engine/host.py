"""What the engine asks of its adapter about steps and connections. It is for type checkers: nothing inherits from it.

Steps are passed through as they are: the modules below `steps/` do not import the class `Step`. They use `Written`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Optional, Protocol

if TYPE_CHECKING:
    from .source_lines import SourceLine

__all__ = ["Host", "Written"]


class Written(Protocol):
    """Something that stands in a script: a step, an `allow()`, an `every()`."""

    def lines(self) -> list[SourceLine]:
        """Return the source lines where it was written."""


class Host(Protocol):
    """The owner of a `Session`: it answers what users ask of a step, and what reports ask of a connection."""

    @property
    def tick(self) -> float:
        """How coarse the clock is, in seconds: two times may be apart by so much less than they seem to be, or more."""

    @property
    def sees_reading(self) -> bool:
        """Whether the adapter can see how much of what was sent the client has read."""

    def wait_for(self, step: Any) -> Generator[Any, None, None]:
        """Wait until a step is satisfied; raise if it never will be."""

    def raise_unsatisfied(self, step: Any, timeout: Optional[float]) -> None:
        """Raise what `Step.result` raises for a step that is not satisfied; return if it has become satisfied."""

    def exception_of(self, step: Any, timeout: Optional[float]) -> Optional[BaseException]:
        """Return what `Step.exception` returns for a step that is not satisfied: None if it has become satisfied."""

    def status_of(self, step: Any) -> str:
        """Return what `Session.status_of` returns: "waiting", "satisfied" ..."""

    def listening_at(self) -> str:
        """Return the address at which the server listens, as text for reports."""

    def standstill(self, number: int) -> Optional[tuple[str, object]]:
        """Return what is waited for on a connection whose script is complete: END, DATA, UNSEEN; None if nothing is.

        With it comes what tells this wait from another. `Standstill` asks this.
        """

    def ending_of(self, number: int) -> str:
        """Say how a client ended its stream: "closed", "half-closed", or "ended its stream" if there is no evidence."""
