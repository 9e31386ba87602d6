"""What the parts of a running server, and of each of its connections, may ask and use. The runtime owns it.

The `ServerContext` has the loop, the engine, the transcript, the kernel, and what is known of the client's streams:

    new --attach--> attached --close--> closed
      `----------------close------------^

A context that is `cleared` was closed, too, but the server goes on with another one, in the same loop.

`session`, `environment`, `commands`, `transcript` and `threaded` never change. There is a loop from `attach` on.

The `Link` has the transport of one connection, its conversation, and the state of both:

    new --opened--> open --begin--> known to the engine --lose--> lost
                                       |--drain--> draining: the client's bytes are ignored, its end is awaited
                                       `--leave--> left: the server's context is left, nothing is reported any more

- There is a `transport` from `opened` on, a `conversation` from `begin` on. A connection that is accepted when all is
  over gets no conversation.
- `paused` is true from the moment when the operating system took less than a whole write until it has taken the rest.
- `written` counts bytes of clear text, `on_the_wire` bytes of TLS records if there is TLS. `script_bytes_end` is the
  value of `on_the_wire` after the script's last send: the client has to read up to that byte. Bytes after it
  (heartbeats, session tickets of TLS) belong to no step. `script_bytes_start` is that value after the send before.

Whoever reports something to the conversation calls `context.perform` afterwards. A part that gets one of the two needs
no reference to the runtime, or to the connection's protocol.
"""

from __future__ import annotations

import asyncio
import socket
import weakref
from typing import TYPE_CHECKING, Any, Callable, Optional, Union, cast

from tcpclient_testing.aio.sockets.listening import LINGER_RESET

if TYPE_CHECKING:
    from tcpclient_testing.aio.sockets.inet_diag import PeerProbe
    from tcpclient_testing.aio.sockets.layer import SocketLayer
    from tcpclient_testing.aio.streams.record import ClientStream
    from tcpclient_testing.engine.conversation.conversation import Conversation
    from tcpclient_testing.engine.mismatches import Mismatch
    from tcpclient_testing.engine.session.session import Session
    from tcpclient_testing.engine.steps.base import Step
    from tcpclient_testing.transcript.entries import Transcript

__all__ = ["Link", "ServerContext", "is_virtual", "running_servers"]

__unittest = True


_running: weakref.WeakSet[ServerContext] = weakref.WeakSet()


def running_servers() -> list[ServerContext]:
    """Return the contexts of the servers of this process that have a loop, in whatever thread; some may be closed."""
    while True:
        try:
            return list(_running)
        except RuntimeError:  # another thread has just added one
            pass


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
        #: What lies below the server's connections: sockets of the operating system, or others.
        self.sockets: SocketLayer = cast("SocketLayer", None)  # until attached
        self.attached = False
        self.closed = False
        self.cleared = False
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
        #: How long (seconds, real) to look for what a client in another thread or process sends before an answer.
        self.grace = 0.0
        #: Whether a client may come from outside of this process and its children.
        self.outsiders = False
        #: Lines for the report about the time that went by.
        self.about_time: Callable[[], list[str]] = list
        #: The kind of server that a client needs which blocks: the class, the mixin or the fixture.
        self.twin = "ThreadedMockTCPServer"

    def name_twin(self, twin: str) -> None:
        """This is the kind of server that a client needs which blocks."""
        self.twin = twin

    def set_grace(self, seconds: float) -> None:
        """Look so long (seconds, real) for what a client in another thread or process sends before an answer."""
        self.grace = seconds

    def expect_outsiders(self, outsiders: bool) -> None:
        """Take note whether a client may come from outside of this process and its children."""
        self.outsiders = outsiders

    def attach(self, loop: asyncio.AbstractEventLoop, sockets: SocketLayer, perform: Callable[[], None],
               perform_script: Callable[[], None]) -> None:
        """There is a loop from now on, with `sockets`, and commands are carried out. The transcript's time starts."""
        self.loop = loop
        self.sockets = sockets
        self.perform = perform
        self.perform_script = perform_script
        self.attached = True
        _running.add(self)
        self.transcript.begin(loop.time())

    def see_streams(self, stream_of: Callable[[Any], Optional[ClientStream]], ending_of: Callable[[Conversation], str],
                    address_taken: Callable[[Conversation, Any], None]) -> None:
        """Ask these from now on about the clients' asyncio streams."""
        self.stream_of = stream_of
        self.ending_of = ending_of
        self.address_taken = address_taken

    def tell_of_time(self, about_time: Callable[[], list[str]]) -> None:
        """Ask this from now on for the report's lines about the time that went by."""
        self.about_time = about_time

    def close(self) -> None:
        """The server is closed, or belongs to another process now."""
        self.closed = True
        _running.discard(self)

    def clear(self) -> None:
        """The server goes on with another context."""
        self.cleared = True

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
        """Return the probe that tells about the clients' sockets; None where the system does not tell."""
        probe: Optional[PeerProbe] = self.sockets.probe()
        return probe

    @property
    def in_memory(self) -> bool:
        """Whether the server, once there is a loop, has sockets that are none of the operating system."""
        return self.attached and bool(self.sockets.reached_by)


class Link:
    """One connection, as its parts see it. `buffer` is where its bytes are received; other connections may share it."""

    __slots__ = ("context", "loop", "buffer", "peername", "transport", "conversation", "lost", "left", "draining",
                 "paused", "shaped", "reads_last", "ended_at_last", "written", "script_bytes_start", "script_bytes_end",
                 "_when_lost")

    def __init__(self, context: ServerContext, buffer: memoryview, peername: Any) -> None:
        self.context = context
        self.loop = context.loop
        self.buffer = buffer
        self.peername = peername
        self.transport: Optional[asyncio.Transport] = None
        self.conversation: Conversation = cast("Conversation", None)  # until begin
        self.lost = False
        self.left = False
        self.draining = False
        self.paused = False
        self.shaped = False
        #: Whether the connection has broken, and what the client had sent before is being read; and whether its end of
        #: stream was found only then.
        self.reads_last = False
        self.ended_at_last = False
        self.written = 0
        self.script_bytes_start = self.script_bytes_end = 0
        self._when_lost: Optional[list[Callable[[], None]]] = None

    @property
    def socket(self) -> Any:
        """The connection's socket; None before there is one, and after it is lost."""
        known = self.transport is not None and not self.lost and self.conversation is not None
        return self.transport.get_extra_info("socket") if known and self.transport is not None else None

    # The connection's life.

    def opened(self, transport: asyncio.Transport) -> None:
        """Write to `transport` from now on: the connection's own, or a layer above that."""
        self.transport = transport

    def begin(self, conversation: Conversation) -> None:
        """The engine knows the connection, as `conversation`."""
        self.conversation = conversation

    def when_lost(self, cancel: Callable[[], None]) -> None:
        """Call `cancel` when the connection is lost: a part waits for something, or has something to send."""
        if self._when_lost is None:
            self._when_lost = []
        self._when_lost.append(cancel)

    def lose(self) -> None:
        """The connection is lost: nothing is waited for any more."""
        self.lost = True
        if self._when_lost is not None:
            for cancel in self._when_lost:
                cancel()
            self._when_lost = None

    def leave(self) -> None:
        """The server's context is left."""
        self.left = True

    def drain(self) -> None:
        """From now on, only wait for the client's end, and ignore what it sends until then."""
        self.draining = True

    def withhold_end(self, withheld: bool) -> None:
        """The end of our stream, over TLS, waits for the client, or does so no more."""
        handshake = self.conversation.handshake
        assert handshake is not None
        handshake.withhold(withheld)

    def read_last(self) -> None:
        """The connection has broken, and what the client had sent before is read now."""
        self.reads_last = True

    def end_at_last(self) -> None:
        """The client had ended its stream before the connection broke, and nobody had read that."""
        self.ended_at_last = True

    @property
    def reads(self) -> bool:
        """Whether it matters what the client has sent, and the script lets the server read it."""
        inbox = None if self.conversation is None else self.conversation.inbox
        return inbox is not None and inbox.paused is None and not (inbox.ended or self.left or self.draining)

    def mark_closed(self) -> None:
        """Tell the engine that the connection is closed; this is no event."""
        self.conversation.inbox.close()

    @property
    def over(self) -> bool:
        """Whether it no longer matters what the client does."""
        return self.lost or self.left or self.conversation.inbox.closed or self.context.environment.over

    # Writing.

    def write(self, data: Union[bytes, memoryview]) -> None:
        """Write to the transport."""
        assert self.transport is not None
        self.transport.write(data)
        self.written += len(data)

    @property
    def broken(self) -> bool:
        """Whether a write has just failed, so that `lose` will follow, and nothing more is taken."""
        return self.transport is not None and self.transport.is_closing()

    def pause_writing(self) -> None:
        """The operating system has not taken all that was written."""
        self.paused = True

    def resume_writing(self) -> None:
        """The operating system has taken the rest."""
        self.paused = False

    def shape(self, shaped: bool) -> None:
        """Network conditions hold back what is sent from now on, or do so no more."""
        self.shaped = shaped

    @property
    def on_the_wire(self) -> int:
        """How many bytes were written to the connection in all; over TLS, in encrypted bytes."""
        # asyncio's own transport writes to the socket directly. A TLS layer in its place counts the encrypted bytes.
        return int(getattr(self.transport, "on_the_wire", self.written))

    @property
    def sends_script(self) -> bool:
        """Whether a write of the script is in progress, rather than data that belongs to no step."""
        outbox = self.conversation.outbox
        return outbox.sending and not outbox.interleaving

    def script_sent(self) -> None:
        """What was written so far belongs to the script: the client has to read it."""
        self.script_bytes_start = self.script_bytes_end
        self.script_bytes_end = getattr(self.transport, "on_the_wire", self.written)

    # The end.

    def write_eof(self) -> None:
        """End our stream now."""
        assert self.transport is not None
        try:
            self.transport.write_eof()
        except OSError:
            pass  # the client has just reset the connection: connection_lost() reports that

    def omit_close_notify(self) -> None:
        """Our stream, over TLS, ends without a close_notify."""
        omit: Callable[[], None] = self.transport.omit_close_notify  # type: ignore[union-attr] # a TLS layer has it
        omit()

    @property
    def eof_written(self) -> bool:
        """Whether our stream has ended: a FIN was sent."""
        handshake = self.conversation.handshake
        return (self.draining or self.conversation.outbox.ended) and (handshake is None or not handshake.withheld)

    def close(self) -> None:
        """Close without a reset. Call this only when nothing is unread: else the close is a reset."""
        self.mark_closed()
        if self.transport is not None:
            self.transport.close()

    def reset(self, why: str) -> None:
        """Send a RST at once. `why` goes into the transcript."""
        inbox = self.conversation.inbox
        if not inbox.closed and not self.lost:
            self.note(why)
        inbox.close()
        self.abort()

    def abort(self) -> None:
        """Abort the transport with a RST (SO_LINGER with a time of 0, socket(7))."""
        if self.transport is None or self.lost:
            return
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            try:
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            except (OSError, ValueError):
                pass  # closed already
        self.transport.abort()
        if hasattr(self.loop, "_proactor"):  # its transport would shut the socket down first: a FIN, and no RST
            getattr(raw, "_sock", raw).close()

    # The transcript.

    def note(self, text: str) -> None:
        """Add a note to the transcript: what happened on this connection."""
        self.context.transcript.note(self.loop.time(), self.conversation.number, text)
