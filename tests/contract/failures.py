"""Each kind of failure, and beside each a sound client that comes near."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import socket
import ssl
import sys
import threading
import time
from typing import Any

from tests.support.watchdogs import receive_in_vain

from .bodies import Body, Tools
from .case import PASSES, Case, fails, raises
from .clients import CLOSE, DROP, END, READ_END, RESET, do, read, send
from .scripts import ASK, MISSPELLED, asks, client, exchange, misspells, script

REQUEST = contextvars.ContextVar("REQUEST", default="none")


def number(*_: Any) -> bytes:
    """Return a reply that depends on the context."""
    return REQUEST.get().encode() + b"\r\n"


async def number_later(*_: Any) -> bytes:
    """Return it as a coroutine."""
    await asyncio.sleep(0)
    return number()


async def serve_number(connection: Any) -> None:
    """Return it as a handler."""
    await connection.expect_line(asked())
    connection.send_bytes(number)
    await connection.expect_disconnect()


def is_request(line: bytes) -> bool:
    """Compare a line with the context, as a predicate."""
    return line == REQUEST.get().encode()


def asked() -> Any:
    """Return a matcher that depends on the context."""
    from tcpclient_testing.matchers import Predicate
    return Predicate(is_request)


def in_context(write: Any) -> Any:
    """Make a body that writes a script in a context of its own, and has a client that is served in it."""
    def body(tools: Tools) -> Body:
        token = REQUEST.set("42")
        tools.server.expect_connect()
        write(tools.server)
        REQUEST.reset(token)
        yield tools.run(send(b"42\r\n"), read(4), CLOSE)
        assert tools.client.got == b"42\r\n", tools.client.got
    return body


def never_connects(tools: Tools) -> Body:
    """Nobody does anything."""
    yield lambda: None


def connects_twice(tools: Tools) -> Body:
    """The client connects a second time."""
    yield tools.run(*ASK, CLOSE)
    tools.another()
    yield tools.run(CLOSE)


def reconnects(server: Any) -> None:
    """The script expects that."""
    exchange(server)
    server.expect_connect()
    server.expect_disconnect()


def boom(*_: Any) -> bytes:
    """Raise, as a callable of a script."""
    raise LookupError("no such reply")


async def boom_later(*_: Any) -> bytes:
    """Raise, as a coroutine function of a script."""
    raise LookupError("no such reply")


def reply(*_: Any) -> bytes:
    """Return a reply."""
    return b"PONG\r\n"


async def reply_later(*_: Any) -> bytes:
    """Return a reply."""
    return b"PONG\r\n"


async def boom_afterwards(*_: Any) -> bytes:
    """Raise, as a coroutine function of a script, when the client has gone."""
    await asyncio.sleep(0.02)
    raise LookupError("no such reply")


async def reply_afterwards(*_: Any) -> bytes:
    """Return a reply when the client has gone."""
    await asyncio.sleep(0.02)
    return b"PONG\r\n"


async def handler_raises(connection: Any) -> None:
    """Raise at once."""
    await connection.expect_line(b"PING")
    raise LookupError("no such reply")


async def handler_raises_late(connection: Any) -> None:
    """Raise when the client has gone."""
    import asyncio
    await connection.expect_line(b"PING")
    await connection.expect_disconnect()
    await asyncio.sleep(0.01)
    raise LookupError("no such reply")


async def handler_late(connection: Any) -> None:
    """Return a while after the client has gone."""
    import asyncio
    await connection.expect_line(b"PING")
    await connection.expect_disconnect()
    await asyncio.sleep(0.01)


def fails_late() -> Any:
    """One message, and an error of the test's own."""
    yield b"A\r\n"
    raise LookupError("no more")


def any_order(server: Any) -> None:
    """A and B in any order."""
    connection = server.expect_connect().connection
    with connection.any_order():
        connection.expect_line(b"A")
        connection.expect_line(b"B")
    connection.expect_disconnect()


def allowed(answer: Any) -> Any:
    """Make a script with a message that may come at any time, and gets this reply."""
    def write(server: Any) -> None:
        server.expect_connect()
        server.allow(b"BEAT\r\n", reply=answer)
        server.expect_line(b"PING")
        server.expect_disconnect()
    return write


def faulty(n: int) -> Any:
    """Make a script in which the server breaks the connection after n bytes."""
    def write(server: Any) -> None:
        server.expect_connect()
        server.expect_line(b"PING")
        server.reset_after(n)
        server.send_line(b"PONG")
        if n > 6:
            server.expect_disconnect()
    return write


def is_broken(tools: Tools) -> Body:
    """The client gets a part of the reply, and a reset."""
    try:
        yield tools.run(*ASK)
    except (ConnectionError, EOFError):
        assert tools.client.got == b"" or b"PONG".startswith(tools.client.got), tools.client.got
    else:
        raise AssertionError("the connection was not broken")
    yield tools.run(DROP)


def speaks_too_early(tools: Tools) -> Body:
    """The client sends during a silence."""
    yield tools.run(send(b"PING\r\n"), read(1))


def silence(server: Any) -> None:
    """Nothing may come for a moment."""
    server.expect_connect()
    server.expect_silence(0.02)
    server.send_line(b"go on")
    server.expect_line(b"PING")
    server.expect_disconnect()


def own_error(tools: Tools) -> Body:
    """The client fails by itself in the middle."""
    def fail() -> None:
        raise LookupError("the client's own")
    try:
        yield tools.run(*ASK, do(fail))
    finally:
        tools.client.abort()


def consequence(tools: Tools) -> Body:
    """The client raises because the server gave up."""
    try:
        yield tools.run(send(b"PUNG\r\n"), READ_END, read(6))
    except (ConnectionError, EOFError) as error:
        raise LookupError("as the server had gone") from error


def too_early(server: Any) -> None:
    """A step before the first expect_connect()."""
    server.expect_line(b"PING")


def after_the_end(server: Any) -> None:
    """A step after the server's end."""
    server.expect_connect()
    server.disconnect()
    server.expect_line(b"PING")


def half_closed(tools: Tools) -> Body:
    """The client half-closes, and reads until the server ends."""
    yield tools.run(send(b"PING\r\n"), END, READ_END, CLOSE)
    assert tools.client.got == b"PONG\r\n"


def quietly() -> None:
    """Let asyncio say nothing of what blocks on purpose."""
    asyncio.get_running_loop().slow_callback_duration = 60


def gives_up(tools: Tools) -> Body:
    """A blocking client blocks the loop of its server, until it gives up."""
    def block() -> None:
        quietly()
        with socket.create_connection(tools.server.address, timeout=20) as client:
            receive_in_vain(tools.server, client)
    yield block


def gives_up_and_asserts(tools: Tools) -> Body:
    """It does so, and makes nothing of that."""
    got = b""

    def block() -> None:
        nonlocal got
        quietly()
        with socket.create_connection(tools.server.address, timeout=20) as client, contextlib.suppress(OSError):
            got = receive_in_vain(tools.server, client)
    yield block
    if got != b"h":
        raise AssertionError("the test's own")  # not by `assert`, which python -O leaves out


def gives_up_elsewhere(tools: Tools) -> Body:
    """A call that has nothing to do with the server blocks the loop, and gives up, while the client asks."""
    def block() -> None:
        quietly()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.settimeout(0.1)
            try:
                ours.recv(1)
            except OSError as error:
                raise LookupError("gave up elsewhere") from error
    yield tools.run(send(b"PING\r\n"))
    yield block


def blocks_the_thread(tools: Tools) -> Body:
    """A callable of the script waits for what the test does only after the client has got its reply."""
    go_on = threading.Event()
    server = tools.server
    server.expect_connect(timeout=30)
    server.expect_line(b"PING", timeout=30)
    server.send_line(lambda _: b"PONG" if go_on.wait(30) else b"")
    try:
        yield tools.run(*ASK)
    finally:
        go_on.set()


def is_slow(server: Any) -> None:
    """A callable of the script takes a moment, and no more."""
    def reply_slowly(_: bytes) -> bytes:
        time.sleep(0.02)
        return b"PONG"
    server.expect_connect()
    server.expect_line(b"PING")
    server.send_line(reply_slowly)
    server.expect_disconnect()


def forgets_to_wait(tools: Tools) -> Body:
    """The client closes, and does not wait for that."""
    yield tools.run(*ASK, DROP)


def raises_in_the_matcher(_: bytes) -> bool:
    """Raise, as a predicate."""
    raise LookupError("no such line")


def predicate(function: Any) -> Any:
    """Make a script with a predicate."""
    def write(server: Any) -> None:
        from tcpclient_testing.matchers import Predicate
        server.expect_connect()
        server.expect_line(Predicate(function))
        server.expect_disconnect()
    return write


def is_refused(tools: Tools) -> Body:
    """The client refuses the server's certificate, and the body handles that."""
    with contextlib.suppress(ssl.SSLCertVerificationError):
        yield tools.run(*ASK)


def is_refused_in_a_group(tools: Tools) -> Body:
    """The same in a task group beside another task: the loop turns until the group has ended."""
    async def run() -> None:
        async with asyncio.TaskGroup() as group:  # type: ignore[attr-defined,unused-ignore]
            group.create_task(tools.client.run(ASK))
            group.create_task(asyncio.Event().wait())
    yield run


_REFUSED = r"^the client refused the server's certificate: .+"

CASES = (
    Case("each", PASSES, client(send(b"A\r\nB\r\nPING\r\n"), read(6), CLOSE),
         script(lambda s: s.expect_each([b"A\r\n", b"B\r\n"]), lambda s: s.expect_each(iter([b"PING"]), ending=b"\r\n"),
                lambda s: s.send_line(b"PONG"), lambda s: s.expect_disconnect())),
    Case("each_but_one", fails(r"expected b'B.*, got b'X.* at byte 0, message 2 of 3", r"> 2  b'B"),
         client(send(b"A\r\nX\r\nC\r\n"), read(1)),
         script(lambda s: s.expect_each([b"A\r\n", b"B\r\n", b"C\r\n"]))),
    Case("each_raises", fails(r"the messages of expect_each\(\) raised LookupError: no more"),
         client(send(b"A\r\nX\r\n"), read(1)), script(lambda s: s.expect_each(fails_late()))),
    Case("sound", PASSES, asks, exchange),
    Case("wrong_byte", fails(MISSPELLED), misspells, exchange),
    Case("wrong_byte_after_a_right_one", fails(r"expected b'PING'"), client(*ASK, send(b"PIMG\r\n"), read(6)),
         script(*[lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")] * 2)),
    Case("early_end", fails(r"PING.*PI|ended its stream|closed"), client(send(b"PI"), CLOSE), exchange),
    Case("reset", fails(r"reset"), client(send(b"PI"), RESET), exchange),
    Case("reset_expected", PASSES, client(*ASK, RESET),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG"), lambda s: s.expect_reset())),
    Case("silent", fails(r"silent|nothing|received"), client(read(1)),
         script(lambda s: s.expect_line(b"PING", timeout=0.02))),
    Case("frame_header", fails(r"expected.*PING"), client(send(b"\0\0\0\5PING"), read(1)),
         script(lambda s: s.expect_frame(b"PING"))),
    Case("never_connects", fails(r"connect"), never_connects, lambda s: s.expect_connect(timeout=0.02)),
    Case("nobody_connects_and_nobody_is_expected", PASSES, never_connects),
    Case("connects_twice", fails(r"connected (twice|2)|expects 1 connection|connection"), connects_twice, exchange),
    Case("connects_twice_as_expected", PASSES, connects_twice, reconnects),
    Case("left_over", fails(r"more"), client(send(b"PING\r\nmore"), read(6), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG"))),
    Case("ends_where_a_disconnect_is_expected", PASSES, half_closed, exchange,
         lambda: {"watch_streams": False}),
    Case("half_closes_as_expected", PASSES, half_closed,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.expect_eof(), lambda s: s.send_line(b"PONG"),
                lambda s: s.disconnect())),
    Case("forgets_to_wait", PASSES, forgets_to_wait, exchange, only="threaded"),
    Case("reply_unread", fails(r"reset|unread"), client(send(b"PING\r\n"), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(b"x" * 70000),
                lambda s: s.expect_disconnect())),
    Case("gives_up", fails(r"client.recv\(1\).* blocked the event loop.*(ThreadedMockTCPServer|threaded_tcpserver)",
                           "timed out"), gives_up,
         script(lambda s: s.send_line(b"hello")), only="asynchronous", waits=True, sockets=True),
    Case("gives_up_and_asserts", fails(r"client.recv\(1\).* blocked the event loop", "the test's own"),
         gives_up_and_asserts, script(lambda s: s.send_line(b"hello")), only="asynchronous", waits=True, sockets=True,
         needs="threads"),
    Case("gives_up_elsewhere", raises(r"LookupError.*gave up elsewhere"), gives_up_elsewhere, exchange,
         only="asynchronous", waits=True, lasts=True),
    Case("callable_blocks", fails(r"the server's thread is blocked at failures.py:\d+ .*go_on.wait.*must not wait"),
         blocks_the_thread, options=lambda: {"timeout": 0.1}, only="threaded", waits=True, lasts=True),
    Case("callable_is_slow", PASSES, asks, is_slow, only="threaded"),
    Case("fault", PASSES, is_broken, faulty(3)),
    Case("fault_that_never_strikes", fails(r"reset_after\(1000\) never took effect"), asks, faulty(1000)),
    Case("handler_raises", fails(r"no such reply"), client(send(b"PING\r\n"), READ_END),
         options=lambda: {"handler": handler_raises}),
    Case("handler_raises_late", fails(r"no such reply"), client(send(b"PING\r\n"), CLOSE),
         options=lambda: {"handler": handler_raises_late}),
    Case("handler_returns_late", PASSES, client(send(b"PING\r\n"), CLOSE), options=lambda: {"handler": handler_late}),
    Case("callable", PASSES, asks,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(reply), lambda s: s.expect_disconnect())),
    Case("callable_raises", fails(r"no such reply"), client(send(b"PING\r\n"), READ_END),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(boom), lambda s: s.expect_disconnect())),
    Case("coroutine", PASSES, asks,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(reply_later),
                lambda s: s.expect_disconnect())),
    Case("coroutine_raises", fails(r"no such reply"), client(send(b"PING\r\n"), READ_END),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_bytes(boom_later), lambda s: s.expect_disconnect())),
    Case("allowed_reply", PASSES, client(send(b"BEAT\r\n"), read(6), send(b"PING\r\n"), CLOSE), allowed(reply)),
    Case("allowed_reply_raises", fails(r"no such reply"), client(send(b"BEAT\r\n"), READ_END), allowed(boom)),
    Case("allowed_coroutine", PASSES, client(send(b"BEAT\r\n"), read(6), send(b"PING\r\n"), CLOSE),
         allowed(reply_later)),
    Case("allowed_coroutine_raises", fails(r"no such reply"), client(send(b"BEAT\r\n"), READ_END), allowed(boom_later)),
    Case("allowed_coroutine_raises_late", fails(r"no such reply"), client(send(b"BEAT\r\nPING\r\n"), CLOSE),
         allowed(boom_afterwards)),
    Case("allowed_coroutine_returns_late", PASSES, client(send(b"BEAT\r\nPING\r\n"), CLOSE),
         allowed(reply_afterwards)),
    Case("context_of_a_callable", PASSES, in_context(lambda s: (s.expect_line(), s.send_bytes(number)))),
    Case("context_of_a_coroutine", PASSES, in_context(lambda s: (s.expect_line(), s.send_bytes(number_later)))),
    Case("context_of_a_predicate", PASSES, in_context(lambda s: (s.expect_line(asked()), s.send_bytes(number)))),
    Case("context_of_a_length", PASSES, in_context(lambda s: (
        s.expect_exactly(lambda _: len(number())), s.send_bytes(number)))),
    Case("context_of_a_handler", PASSES, in_context(lambda s: s.hand_over(serve_number))),
    Case("matcher", PASSES, client(send(b"PING\r\n"), CLOSE), predicate(lambda line: line == b"PING")),
    Case("matcher_raises", fails(r"no such line"), client(send(b"PING\r\n"), READ_END),
         predicate(raises_in_the_matcher)),
    Case("tls_failure", fails(_REFUSED), client(*ASK), exchange, lambda: {"tls": "expired"}, tls=True),
    Case("tls_failure_at_the_end", fails(_REFUSED), client(*ASK), lambda s: s.expect_connect(),
         lambda: {"tls": "expired"}, tls=True),
    Case("tls_failure_expected", PASSES, is_refused, lambda s: (s.expect_connect(), s.expect_tls_failure()),
         lambda: {"tls": "expired"}, tls=True),
    *([Case("tls_failure_in_a_task_group", fails(_REFUSED), is_refused_in_a_group, exchange,
            lambda: {"tls": "expired"}, tls=True, only="asynchronous")] if sys.version_info >= (3, 11) else []),
    Case("silence_broken", fails(r"silen|PING"), speaks_too_early, silence),
    Case("silence_kept", PASSES, client(read(7), send(b"PING\r\n"), CLOSE), silence),
    Case("any_order", PASSES, client(send(b"B\r\nA\r\n"), CLOSE), any_order),
    Case("any_order_incomplete", fails(r"b'A'|ended|closed"), client(send(b"B\r\n"), CLOSE), any_order),
    Case("own_error", raises(r"LookupError.*the client's own"), own_error, exchange),
    Case("consequence", fails(MISSPELLED, "as the server had gone"), consequence, exchange),
    Case("step_too_early", raises(r"expect_connect\(\)", ""), never_connects, too_early),
    Case("step_after_the_end", raises(r"disconnect\(\)", ""), never_connects, after_the_end),
)
