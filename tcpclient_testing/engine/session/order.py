"""The order of a server's steps across connections, and its settings.

Server-level steps are done in the order written: the gate of an `expect_connect()` is the server-level step before it.
Within one connection the order of its script is enough. A setting, such as `refuse_connections()`, belongs to no
connection. It is done when the server-level steps before it are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.conversation.conversation import Conversation
from tcpclient_testing.engine.steps.base import Gate, Script, Step

if TYPE_CHECKING:
    from tcpclient_testing.engine.environment import Environment

    from .connections import Connections

__all__ = ["Order"]

__unittest = True


# The gate of each script that waits for server-level steps before it.
_STEPS_BEFORE = Gate()


class Order:
    """The server-level steps of one server.

    `fronts` are the latest of them, for which the next one has to wait: a script stands for its last server-level step.
    There are several only after an `any_order()` block of connections. The settings are the steps of a conversation
    with the server itself, number 0. `refusing` says whether connections are refused.
    """

    __slots__ = ("fronts", "refusing", "_environment", "_connections", "_settings")

    def __init__(self, environment: Environment, connections: Connections) -> None:
        self._environment = environment
        self._connections = connections
        self.fronts: list[Union[Script, Step[Any]]] = []
        self.refusing = False
        self._settings: Optional[Conversation] = None

    @property
    def settings(self) -> Conversation:
        """The conversation with the server itself; made when there is a first setting."""
        if self._settings is None:
            self._settings = settings = Conversation(self._environment, 0)
            settings.script.cursor.belong_to(0, None, settings.wake)
        return self._settings

    def steps_before(self) -> list[Step[Any]]:
        """Return the steps for which the next server-level step has to wait."""
        steps = (front.last if isinstance(front, Script) else front for front in self.fronts)
        return [step for step in steps if step is not None]

    def begin_script(self, script: Script) -> None:
        """The script of a connection begins: it waits for the steps before."""
        before, self.fronts = self.steps_before(), [script]
        self._shut(script, before)

    def begin_script_of_block(self, script: Script) -> None:
        """The script of a connection of an `any_order()` block begins."""
        self.fronts.append(script)

    def go_on_with(self, script: Script) -> None:
        """A server-level step comes to the newest script, after a setting."""
        self.fronts[-1] = script

    def open_block(self) -> list[Step[Any]]:
        """An `any_order()` block of connections begins. Return the steps for which all of it has to wait."""
        before, self.fronts = self.steps_before(), []
        return before

    def close_empty_block(self, before: Sequence[Step[Any]]) -> None:
        """The block has no script: what follows waits for the steps before the block."""
        self.fronts = list(before)

    def _shut(self, script: Script, before: Sequence[Step[Any]]) -> None:
        """Let the script of a connection wait until all of the steps `before` it are satisfied."""
        gate = first_missing(before)
        script.wait_for(None if gate is None else _STEPS_BEFORE)
        if gate is not None:
            gate.cursor.when_done(gate, lambda: self._open(script, before))

    def _open(self, script: Script, before: Sequence[Step[Any]]) -> None:
        self._shut(script, before)
        self._connections.of(script.cursor.number).advance()

    def add_setting(self, step: Step[Any]) -> None:
        """Apply the setting `step` to the server once the server-level steps before it are done."""
        script = self.settings.script
        at_once = step.reopens and self.refusing
        script.insert(script.cursor.position if at_once else len(script.steps), step)
        before: Sequence[Step[Any]] = ()
        if not at_once:
            before, self.fronts = self.steps_before(), [*self.fronts[:-1], step]
        when_all(before, lambda: self._set(step))

    def _set(self, step: Step[Any]) -> None:
        step.proceed(self.settings)
        if step.reopens or step.refuses:
            self.refusing = step.refuses
        self.settings.script.cursor.move_to(step.index + 1)
        self.settings.script.cursor.tell_watchers()


def when_all(steps: Sequence[Step[Any]], then: Callable[[], None]) -> None:
    """Call `then` when all of these steps are satisfied; at once if they are."""
    gate = first_missing(steps)
    if gate is None:
        then()
    else:
        gate.cursor.when_done(gate, lambda: when_all(steps, then))


def first_missing(steps: Sequence[Step[Any]]) -> Optional[Step[Any]]:
    """Return the first of these steps that is not satisfied; None if all of them are."""
    return next((step for step in steps if not step.satisfied), None)
