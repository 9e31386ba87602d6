"""What the parts of a running server may ask: the loop, the engine, the transcript, the kernel, the client's streams.

    new --attach--> attached --close--> closed
      `----------------close------------^

The runtime owns it, and hands it to the parts. A part that gets it needs no reference to the runtime. `session`,
`environment`, `commands`, `transcript` and `threaded` never change. There is a loop from `attach` on.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Callable, Optional, cast

if TYPE_CHECKING:
    from tcpclient_testing.aio.sockets.inet_diag import PeerProbe
    from tcpclient_testing.aio.streams.record import ClientStream
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.mismatches import Mismatch
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["ServerContext", "is_virtual"]

__unittest = True


def is_virtual(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether a loop runs on virtual time. Most loops don't, so this check doesn't import the virtual clock."""
    return hasattr(loop, "why_real")


class ServerContext:
    """What one server's parts share. `threaded`: the loop runs in a thread of its own, in which no test runs."""

    def __init__(self, session: Session, transcript: Transcript, *, threaded: bool) -> None:
        self.session = session
        #: The engine's time, settings and verdict.
        self.environment = session.environment
        #: The engine's commands, in order; `perform` carries them out.
        self.commands = session.environment.commands
        self.transcript = transcript
        self.threaded = threaded
        self.loop: asyncio.AbstractEventLoop = cast(asyncio.AbstractEventLoop, None)  # until attached
        self.attached = False
        self.closed = False
        #: Carry out the engine's pending commands, in order. Call it after each event, once there is a loop.
        self.perform: Callable[[], None] = lambda: None
        #: The same after steps were written: what they send waits for those written after them.
        self.perform_script: Callable[[], None] = lambda: None
        #: The record of the asyncio stream of the client with this address; None if no such stream is known.
        self.stream_of: Callable[[Any], Optional[ClientStream]] = lambda _: None
        #: How the client of a connection ended its stream, in words.
        self.ending_of: Callable[[Conversation], str] = lambda _: "ended its stream"
        #: Called when a client has connected, with its address.
        self.address_taken: Callable[[Conversation, Any], None] = lambda *_: None
        self._probe: Optional[PeerProbe] = None

    def attach(self, loop: asyncio.AbstractEventLoop, perform: Callable[[], None],
               perform_script: Callable[[], None]) -> None:
        """From now on, there is a loop, and commands are carried out. The transcript's time starts now."""
        self.loop = loop
        self.perform = perform
        self.perform_script = perform_script
        self.attached = True
        self.transcript.begin(loop.time())

    def see_streams(self, stream_of: Callable[[Any], Optional[ClientStream]], ending_of: Callable[[Conversation], str],
                    address_taken: Callable[[Conversation, Any], None]) -> None:
        """Ask these from now on about the clients' asyncio streams."""
        self.stream_of = stream_of
        self.ending_of = ending_of
        self.address_taken = address_taken

    def close(self) -> None:
        """The server is closed, or belongs to another process now."""
        self.closed = True

    @property
    def virtual(self) -> bool:
        """Whether the loop, once there is one, runs on virtual time."""
        return is_virtual(self.loop)

    def now(self) -> float:
        """The time of the loop's clock, in seconds; 0 while there is no loop yet."""
        return self.loop.time() if self.attached else 0.0

    def fail(self, conversation: Optional[Conversation], step: Optional[Step[Any]], mismatch: Mismatch, *,
             overdue: bool = False) -> None:
        """Let the script fail now, and carry out what follows; see `Session.fail`."""
        self.session.fail(conversation, step, mismatch, self.loop.time(), overdue=overdue)
        self.perform()

    def note(self, text: str) -> None:
        """Add a note to the transcript: what happened to the server, rather than on a connection."""
        self.transcript.note(self.loop.time(), 0, text)

    def turned_away(self) -> None:
        """Count a connection that was reset, and does not belong to the script."""
        self.session.environment.client_turned_away()

    def probe(self) -> Optional[PeerProbe]:
        """Return the probe that asks the kernel about the clients' sockets; None where the kernel does not tell."""
        if self._probe is None:
            from tcpclient_testing.aio.sockets.inet_diag import PeerProbe, available
            if available():
                self._probe = PeerProbe()
        return self._probe

    def close_probe(self) -> None:
        """Close the probe's socket, if there is one."""
        if self._probe is not None:
            self._probe.close()
