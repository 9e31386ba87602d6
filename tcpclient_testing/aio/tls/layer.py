"""The server's side of TLS, between an asyncio transport and the connection's protocol.

It is a protocol for the transport, and a transport for the protocol above it:

    shaking -> open -> [client_ended | goodbye]* -> over
     `---------`-----> over (broken: our alert and a FIN are sent, the rest is drained)

asyncio's own TLS is not good enough here:

- It does not reliably report a refused handshake.
- It does not distinguish a close_notify from a bare FIN.
- It sends no alert.
- It has no half-close.

So this layer writes and reads the TLS records itself, with an in-memory `ssl.SSLObject`, in the callbacks of the plain
transport. The protocol above it sees plaintext. Code that needs the socket (reset, linger, state in the kernel) gets
that of the plain transport.

How a stream ends (RFC 8446, 6.1):

- A close_notify ends one direction, as a FIN does.
- A FIN without a close_notify ends it too, since hardly any client sends one (``SSLSocket.close()`` doesn't). The
  transcript says which it was.
- We end our stream with a close_notify, then a FIN. After `write_eof` the client may go on sending.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any, Callable, Optional

from tcpclient_testing.aio.sockets.remains import read_remains
from tcpclient_testing.engine.connection.client_hello import begins_tls, server_name
from tcpclient_testing.engine.connection.handshake import HANDSHAKE_DONE
from tcpclient_testing.engine.connection.tls_failure import TLSFailure

from .acknowledging import acknowledge
from .errors import distrust_hint, failure_of
from .info import TLSInfo

if TYPE_CHECKING:
    from tcpclient_testing.aio.context import Link

__all__ = ["TLSLayer"]

__unittest = True

# How much of the ClientHello is kept (bytes). Only a malicious client sends a longer one, and then the server name in
# it doesn't matter.
_LONGEST_HELLO = 64 * 1024


class TLSLayer(asyncio.BufferedProtocol, asyncio.Transport):
    """TLS on one connection, on the server's side.

    `above` is the protocol that sees the plaintext, `raw` the plain transport. With `starttls`, the connection was in
    clear before. `stream_ended` is called when the client ends its stream: with words for how, whether it was
    by a close_notify, and perhaps twice: for a close_notify and a FIN. It returns whether our side stays open.
    """

    __slots__ = ("_above", "_link", "_stream_ended", "_raw", "_context", "_incoming", "_outgoing", "_tls", "_hello",
                 "_starttls", "_received", "_sent", "_shaking", "_client_ended", "_goodbye", "_over", "_paused",
                 "_clear", "_cipher", "on_the_wire")

    def __init__(self, above: asyncio.BufferedProtocol, link: Link, raw: asyncio.Transport, context: ssl.SSLContext,
                 stream_ended: Callable[[str, bool], bool], *, starttls: bool) -> None:
        self._above = above
        self._link = link
        self._stream_ended = stream_ended
        self._raw = raw
        self._context = context
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._hello = b""
        self._starttls = starttls
        self._received = 0
        self._sent = 0
        self._shaking = True
        self._client_ended = False
        self._goodbye = ""  # or "sent", the close_notify; or "omitted"
        self._over = False
        self._paused = False
        self._clear = 0
        self._cipher = 0
        #: How many bytes were written to the connection in all: TLS records, and the plaintext sent before them.
        self.on_the_wire = link.written

    # A protocol, to the plain transport.

    def get_buffer(self, sizehint: int) -> memoryview:
        # Sharing the buffer is safe: received bytes are copied into the BIO before plaintext is written to the buffer.
        return self._link.buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._over:
            return
        data = self._link.buffer[:nbytes]
        if self._shaking:
            self._shake(data)
        else:
            self._incoming.write(data)
            self._read()

    def eof_received(self) -> bool:
        if self._shaking and not self._over:
            self._handshake_ended(self._link.conversation.ending())
            return False
        if self._over:
            return False
        self._client_ended = True
        return self._stream_ended("the client ended its stream without close_notify", False)

    def connection_lost(self, exc: Optional[Exception]) -> None:
        if isinstance(exc, OSError) and not self._over and self._link.reads:
            self._link.read_last()
            read_remains(self._raw, self)
        if self._shaking and not self._over and isinstance(exc, OSError) and not self._link.left:
            self._handshake_ended("reset the connection")
        self._over = True
        self._above.connection_lost(exc)

    def pause_writing(self) -> None:
        self._above.pause_writing()

    def resume_writing(self) -> None:
        self._above.resume_writing()

    # The handshake.

    def begin(self, begun: bytes) -> None:
        """Process the handshake bytes that the client sent before this layer existed."""
        self._shake(memoryview(begun))

    def _shake(self, data: memoryview) -> None:
        link = self._link
        if len(self._hello) < _LONGEST_HELLO:
            self._hello += data
        if not begins_tls(self._hello):
            self._break(TLSFailure.of_plain_text(self._hello, starttls=self._starttls))
            return
        self._received += len(data)
        link.conversation.handshake_bytes(link.loop.time(), len(data))
        link.context.perform()
        self._incoming.write(data)
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            if not self._sent and error.reason in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
                self._break(TLSFailure.of_plain_text(self._hello, starttls=self._starttls))
            else:
                self._break(failure_of(error, self._context, done=False))
        else:
            self._opened()

    def _opened(self) -> None:
        link = self._link
        self._shaking = False
        self._flush()
        acknowledge(self._raw)
        info = TLSInfo(self._tls, server_name(self._hello))
        self._hello = b""
        link.note(f"{HANDSHAKE_DONE}: {info}")
        link.conversation.upgraded(link.loop.time(), info)
        link.context.perform()
        if not self._over:
            self._read()

    def _handshake_ended(self, ending: str) -> None:
        """Break off, because the client ended its stream, or reset the connection, during the handshake."""
        self._break(TLSFailure.of_end(ending, self._received, shown=self._sent > 0,
                                      hint=distrust_hint(self._context)))

    def _break(self, failure: TLSFailure) -> None:
        """TLS has failed: send our alert, if there is one, and a FIN; drain what the client still sends."""
        link = self._link
        self._over = True
        self._flush()
        link.drain()
        link.note(failure.summary)
        try:
            self._raw.write_eof()
        except OSError:
            pass  # the client reset the connection meanwhile
        link.conversation.tls_failed(link.loop.time(), failure)
        link.context.perform()

    # Plaintext.

    def _read(self) -> None:
        """Pass on the received plaintext, as much at once as arrived at once, then the end of stream, if it came."""
        buffer = self._link.buffer
        size = len(buffer)
        while not (self._over or self._paused or self._client_ended):
            filled, ended, error = 0, False, None
            try:
                while filled < size:
                    count = self._tls.read(size - filled, buffer[filled:])
                    if not count:
                        ended = True
                        break
                    filled += int(count)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLZeroReturnError:
                ended = True
            except ssl.SSLError as exception:
                error = exception
            self._flush()
            if filled:
                self._above.buffer_updated(filled)
            if ended:
                self._close_notify_received()
            elif error is not None and not self._over:
                failure = failure_of(error, self._context, done=True)
                if self._goodbye == "omitted":
                    self._ended_by(failure)
                else:
                    self._break(failure)
            if filled < size:
                return

    def _ended_by(self, failure: TLSFailure) -> None:
        """The client has answered our end without a close_notify with an alert, as it may: that ends its stream."""
        self._client_ended = True
        if not self._stream_ended(failure.summary, False):
            self.close()

    def _close_notify_received(self) -> None:
        """Handle the client's close_notify: it will send no more."""
        if self._over:
            return
        self._client_ended = True
        if self._link.reads_last:
            self._link.end_at_last()
        elif not self._stream_ended("the client ended its stream (close_notify)", True):
            self.close()

    # A transport, to the protocol above.

    def write(self, data: Any) -> None:
        if self._over:
            return
        view = memoryview(data)
        size, written = len(view), 0
        while written < size:
            written += self._tls.write(view[written:])
        cipher = self._outgoing.read()
        self._clear, self._cipher = size, len(cipher)
        self.on_the_wire += len(cipher)
        self._raw.write(cipher)

    def get_write_buffer_size(self) -> int:
        """How many bytes of the plaintext written last have not been taken yet, accurate to about 1 %."""
        left = self._raw.get_write_buffer_size()
        return min(self._clear, -(-left * self._clear // self._cipher)) if self._cipher else left

    def set_write_buffer_limits(self, high: Optional[int] = None, low: Optional[int] = None) -> None:
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._raw.get_extra_info(name, default)

    def can_write_eof(self) -> bool:
        return self._raw.can_write_eof()

    def write_eof(self) -> None:
        self._send_close_notify()
        self._raw.write_eof()

    def omit_close_notify(self) -> None:
        """End our stream with a FIN alone."""
        self._goodbye = "omitted"

    def is_closing(self) -> bool:
        return self._raw.is_closing()

    def close(self) -> None:
        self._send_close_notify()
        self._over = True
        self._raw.close()

    def abort(self) -> None:
        self._over = True
        self._raw.abort()

    def is_reading(self) -> bool:
        return self._raw.is_reading()

    def pause_reading(self) -> None:
        self._paused = True
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        self._paused = False
        self._raw.resume_reading()
        if not self._shaking and self._incoming.pending:
            self._link.loop.call_soon(self._read)

    def _send_close_notify(self) -> None:
        """End our direction with a close_notify."""
        if self._goodbye or self._shaking or self._over:
            return
        self._goodbye = "sent"
        unread = self._incoming.read()  # else OpenSSL searches it for the client's close_notify, and reads nothing more
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            pass  # OpenSSL wants the client's close_notify, which may never come
        self._incoming.write(unread)
        self._flush()

    def _flush(self) -> None:
        """Send the records that TLS itself has produced: handshake messages, alerts, close_notify."""
        if self._outgoing.pending:
            records = self._outgoing.read()
            self._sent += len(records)
            self.on_the_wire += len(records)
            self._raw.write(records)
