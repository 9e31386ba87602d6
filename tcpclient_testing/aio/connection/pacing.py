"""Sends under network conditions: chunk after chunk, each held until the client has taken the previous one.

    idle --pump--> held --the client has taken the last chunk--> scheduled --due--> written --more--> held
                                                                                       `--all written--> idle

When the conditions end, what follows is held back once, too. Otherwise the client could read it together with the last
chunk, or with parts of it.

No chunk is held for ever. If the client doesn't read, the next chunk is sent after `BOUND` seconds, and the transcript
says so.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Optional

from tcpclient_testing.engine.conversation.events import Progressed
from tcpclient_testing.engine.wording import counted
from tcpclient_testing.network.conditions import Network
from tcpclient_testing.network.shaper import Shaper

from .delivery import DeliveryWait

if TYPE_CHECKING:
    from .protocol import ConnectionProtocol

__all__ = ["BOUND", "Conditions", "Pacer"]

__unittest = True

#: After so many seconds (of the loop's clock), send a chunk even if the client hasn't taken the previous one.
BOUND = 1.0


class Conditions:
    """The network conditions of one server's connections. `network` applies to new connections; None means none."""

    def __init__(self) -> None:
        self.network: Optional[Network] = None

    def apply(self, protocol: ConnectionProtocol, network: Optional[Network]) -> None:
        """From now on, send to the client of `protocol` under these conditions; None means no conditions."""
        if protocol.lost or protocol.transport is None:
            return
        before, protocol.pacer = protocol.pacer, None
        shaper = None if network is None else network.shaper(protocol.conversation.number, protocol.written)
        if shaper is not None:
            protocol.pacer = Pacer(protocol, shaper, protocol.achieved)
            protocol.note(f"network conditions: {network!r}")
        elif before is not None:
            protocol.note("no network conditions any more")
            before.retire()


class Pacer:
    """Sends to one client under network conditions.

    `achieved` collects offsets in the outgoing stream. At each of them the client certainly had taken all earlier bytes
    before it was sent more. Across other offsets it may have read on.
    """

    def __init__(self, protocol: ConnectionProtocol, shaper: Shaper, achieved: list[int]) -> None:
        self._protocol = protocol
        self._loop = protocol.loop
        self._shaper = shaper
        self._delivery = DeliveryWait(protocol, protocol.runtime.probe())
        self._timer: Optional[asyncio.Handle] = None
        self._untaken = protocol.written > 0
        self._chunk = b""
        self._achieved = achieved
        self._retiring = False

    @property
    def busy(self) -> bool:
        """Whether the next chunk waits for its time, or for the client to take the previous chunk."""
        return self._timer is not None or self._delivery.waiting

    def pump(self) -> None:
        """Take over what the protocol has to send. Start to send it, unless sending is under way."""
        protocol = self._protocol
        if self._retiring:
            if protocol.outgoing and not (self.busy or protocol.lost):
                self._proceed()
            return
        while protocol.outgoing:
            self._shaper.give(protocol.outgoing.popleft())
        if not (self.busy or protocol.paused or protocol.lost):
            if len(self._shaper):
                self._proceed()
            else:
                protocol.flushed()  # the operating system has taken the rest of the last chunk

    def retire(self) -> None:
        """End the conditions: hold back what comes next until the client has taken the last chunk, then send freely."""
        if self._untaken:
            self._retiring = True
            self._protocol.pacer = self

    def cancel(self) -> None:
        """Send nothing more."""
        self._delivery.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _proceed(self) -> None:
        if self._untaken:
            self._delivery.wait(BOUND, self._released)
        else:
            self._schedule()

    def _released(self, taken: bool) -> None:
        protocol = self._protocol
        if protocol.lost:
            return
        self._untaken = False
        if taken:
            self._achieved.append(protocol.written)
        else:
            protocol.note(f"the client has not read all of the first {counted(protocol.written, 'byte')} after "
                          f"{BOUND:g} s: the next chunk goes out, and may be read together with what is there")
        if self._retiring:
            protocol.pacer = None
            protocol.send_held()
        else:
            self._schedule()
        protocol.runtime.perform()

    def _schedule(self) -> None:
        now = self._loop.time()
        found = self._shaper.next(now)
        assert found is not None
        due, self._chunk = found
        if due > now:
            self._timer = self._loop.call_at(due, self._fire)
        else:
            self._send()

    def _fire(self) -> None:
        self._timer = None
        self._send()
        self._protocol.runtime.perform()

    def _send(self) -> None:
        protocol, chunk = self._protocol, self._chunk
        transport = protocol.transport
        if protocol.lost or transport is None:
            return
        now = self._loop.time()
        protocol.runtime.transcript.sent(now, protocol.conversation.number, chunk)
        self._untaken = True
        protocol.written += len(chunk)
        transport.write(chunk)
        if protocol.paused:
            # The protocol calls `pump` again when the operating system has taken the rest.
            protocol.slice = transport.get_write_buffer_size()
            protocol.conversation.receive(Progressed(now, len(chunk) - protocol.slice))
        elif len(self._shaper):
            protocol.conversation.receive(Progressed(now, len(chunk)))
            self._proceed()
        else:
            protocol.flushed()
