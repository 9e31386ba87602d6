"""The script of one server, as servers and connections write it. A connection holds this in place of its server.

`ScriptWriter` is what servers and connections share, `ServerScriptWriter` what all kinds of servers share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from tcpclient_testing.engine.builder.expectations import ScriptMethods
from tcpclient_testing.engine.builder.faults import ServerFaultMethods
from tcpclient_testing.engine.framing.base import Framing
from tcpclient_testing.engine.steps.base import Step

if TYPE_CHECKING:
    from tcpclient_testing.aio.runtime import Runtime
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.conversation.rules import Allowed, Every
    from tcpclient_testing.engine.steps.lifecycle import ExpectConnect
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["ScriptWriter", "ServerScript", "ServerScriptWriter"]

__unittest = True


class ServerScript:
    """Writes the scripts of one server into its `runtime`, and reads what happened on its connections.

    `framing` and `ending` are the defaults of frames and lines. `check_usable` raises an exception if the script can't
    be written now.
    """

    def __init__(self, runtime: Runtime, framing: Framing, ending: bytes, check_usable: Callable[[], None]) -> None:
        self.framing = framing
        self.ending = ending
        self._runtime = runtime
        self._check_usable = check_usable

    def _now(self) -> float:
        context = self._runtime.context
        return context.loop.time() if context.attached else 0.0

    def _written(self) -> None:
        """Carry out what was written, as far as it is due. Raise the verdict if the script has failed."""
        runtime = self._runtime
        if runtime.context.commands:
            runtime.context.perform_script()
        if runtime.context.environment.failure is not None:
            raise runtime.host.error()

    # The server's own steps.

    def add_connection(self, step: ExpectConnect[Any]) -> None:
        """Begin the script of another connection."""
        self._check_usable()
        self._runtime.session.add_connection(step, self._now())
        self._written()

    def add(self, step: Step[Any]) -> None:
        """Append a step to the script of the newest expected connection."""
        self._check_usable()
        self._runtime.session.add(step, self._now())
        self._written()

    def open_pool(self) -> None:
        """Begin an `any_order()` block of connections."""
        self._check_usable()
        self._runtime.session.open_pool(self._now())
        self._written()

    def close_pool(self, whole: bool) -> None:
        """End an `any_order()` block of connections; it counts only if it is `whole`."""
        self._runtime.session.close_pool(self._now(), whole=whole)
        if not self._runtime.context.closed:
            self._written()

    def add_rule(self, conversation: Optional[Conversation], written: Union[Allowed, Every]) -> None:
        """Apply an `allow` or an `every` to a connection from here on. For None see `Session.add_rule`."""
        self._check_usable()
        self._runtime.session.add_rule(conversation, written, self._now())
        self._written()

    # One connection.

    def add_to(self, conversation: Conversation, step: Step[Any], *, by_handler: bool = False) -> None:
        """Append a step to the script of one connection; `by_handler` says that its handler writes it."""
        self._check_usable()
        self._runtime.session.add_to(conversation, step, self._now(), by_handler=by_handler)
        self._written()

    def open_block(self, conversation: Conversation) -> None:
        """Begin an `any_order()` block of one connection."""
        self._check_usable()
        self._runtime.session.open_block(conversation, self._now())
        self._written()

    def close_block(self, conversation: Conversation) -> None:
        """End an `any_order()` block of one connection."""
        self._runtime.session.close_block(conversation, self._now())
        if not self._runtime.context.closed:
            self._written()

    async def join(self, conversation: Conversation) -> None:
        """Wait until every step of one connection is satisfied."""
        self._check_usable()
        final = conversation.script.final
        if final is not None:
            await self._runtime.host.join(final)

    @property
    def transcript(self) -> Transcript:
        """Everything that happened on the server's connections so far."""
        return self._runtime.transcript

    def splits_of(self, conversation: Conversation) -> tuple[int, ...]:
        """Return the offsets at which the outgoing stream of a connection was certainly split."""
        return self._runtime.splits_of(conversation.number)


class ScriptWriter(ScriptMethods):
    """What servers and connections share: the defaults of their server's messages."""

    _script: ServerScript

    def _default_framing(self) -> Framing:
        return self._script.framing

    def _default_ending(self) -> bytes:
        return self._script.ending

    def _server_context(self, context: Any) -> Any:
        from tcpclient_testing.tls import as_server_context
        return as_server_context(context)


class ServerScriptWriter(ScriptWriter, ServerFaultMethods):
    """What all servers share: the methods by which they write their script."""

    _for_all_connections = True

    def _add(self, step: Step[Any]) -> None:
        self._script.add(step)

    def _add_rule(self, written: Union[Allowed, Every]) -> None:
        self._script.add_rule(None, written)

    def _open_block(self) -> None:
        self._script.open_pool()

    def _close_block(self, whole: bool) -> None:
        self._script.close_pool(whole)
