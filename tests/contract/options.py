"""Each option of a server: a case that passes only if the option takes effect, and what happens without it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import tempfile
from typing import Any

from tcpclient_testing import Network
from tcpclient_testing.framing import LengthPrefixed, Netstring
from tests.support.folders import parent_of_sockets
from tests.support.moments import SHORT

from .bodies import Body, Tools
from .case import PASSES, Case, fails, raises
from .clients import CLOSE, DROP, END, READ_END, read, send
from .scripts import ASK, MISSPELLED, asks, client, exchange, misspells, script

_LONG = b"x" * 1000


def on_address(host: str) -> Any:
    """Make a body that passes if the server listens there."""
    def body(tools: Tools) -> Body:
        assert tools.server.host == host, tools.server.host
        yield tools.run(*ASK, CLOSE)
    return body


def silent(tools: Tools) -> Body:
    """The client connects, and waits."""
    yield tools.run(read(1))


def idle(tools: Tools) -> Body:
    """The client asks, and then waits for something."""
    yield tools.run(*ASK, read(1))


def stays(tools: Tools) -> Body:
    """The client asks, and stays connected until the test has ended."""
    yield tools.run(*ASK)


async def echo(connection: Any) -> None:
    """Send each line back."""
    async for line in connection.lines():
        connection.send_line(line)


# Below the ports that systems give to clients, which the clients of other cases may get at any time.
_PORTS = range(20000, 30000)


def own_port() -> dict[str, Any]:
    """Return a port that is free, and that no client gets."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as sock, contextlib.suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return {"port": port}


def on_own_port(tools: Tools) -> Body:
    """The server listens on a port that it was given."""
    assert tools.server.port in _PORTS, tools.server.port
    yield tools.run(*ASK, CLOSE)


def everywhere(tools: Tools) -> Body:
    """The server listens at every address, and the client connects to one of them."""
    assert tools.server.host == "0.0.0.0", tools.server.host
    yield tools.run(*ASK, CLOSE)


def unix_path() -> dict[str, Any]:
    """Return a path that nobody has."""
    return {"unix_path": os.path.join(tempfile.mkdtemp(prefix="contract", dir=parent_of_sockets()), "s")}


def unix(tools: Tools) -> Body:
    """The client connects to a path."""
    assert tools.server.address == tools.server.unix_path
    yield tools.run(*ASK, CLOSE)


def pipelines(tools: Tools) -> Body:
    """The client sends two requests at once."""
    yield tools.run(send(b"PING\r\nPING\r\n"), read(12), CLOSE)


def twice(server: Any) -> None:
    """PING, PONG, PING, PONG."""
    server.expect_connect()
    for _ in range(2):
        server.expect_line(b"PING")
        server.send_line(b"PONG")
    server.expect_disconnect()


def in_turn(tools: Tools) -> Body:
    """The client waits for each reply."""
    yield tools.run(*ASK, *ASK, CLOSE)


def sends_more_unanswered(tools: Tools) -> Body:
    """The client sends its second request when the server has the first, and has not answered it yet."""
    server = tools.server
    server.expect_connect()
    first = server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_line(b"PING")
    server.send_line(b"PONG")
    server.expect_disconnect()
    yield tools.run(send(b"PING\r\n"))
    yield tools.result(first)
    yield tools.run(send(b"PING\r\n"), read(12))


def forgets_the_client(tools: Tools) -> Body:
    """The test ends without having begun its client."""
    return
    yield


def split(tools: Tools) -> Body:
    """The client gets the reply in pieces."""
    yield tools.run(*ASK, CLOSE)
    assert tools.server.connections[0].splits == (2, 4), tools.server.connections[0].splits


def forgets_the_beginning(tools: Tools) -> Body:
    """The transcript doesn't keep all that the client sent."""
    yield tools.run(send(_LONG), CLOSE)
    yield tools.join()
    try:
        tools.server.connections[0].received  # noqa: B018 - it raises
    except BufferError:
        return
    raise AssertionError("the transcript has kept everything")


def remembers_all(tools: Tools) -> Body:
    """The transcript keeps what the client sent."""
    yield tools.run(*ASK, CLOSE)
    assert tools.server.connections[0].received == b"PING\r\n"


def goes_on_after_the_failure(tools: Tools) -> Body:
    """The body is not interrupted: it ends by itself, a moment after the failure, and says so."""
    yield tools.run(send(b"PUNG\r\n"))
    yield lambda: asyncio.sleep(1.5 * SHORT)
    raise LookupError("the body went on")


CASES = (
    Case("host", PASSES, on_address("127.0.0.2"), exchange, lambda: {"host": "127.0.0.2"}, sockets=True),
    Case("host_by_default", PASSES, on_address("127.0.0.1"), exchange),
    Case("port", PASSES, on_own_port, exchange, own_port),
    Case("port_wrong_byte", fails(MISSPELLED), misspells, exchange, own_port),
    Case("timeout", fails(r"silent|nothing|no client connected"), silent, exchange, lambda: {"timeout": 0.02}),
    Case("timeout_of_a_quick_client", PASSES, asks, exchange, lambda: {"timeout": 5}),
    Case("idle_timeout", fails(r"script is complete.*still connected"), idle,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")), lambda: {"idle_timeout": 0.02}),
    Case("idle_timeout_none", PASSES, asks, exchange, lambda: {"idle_timeout": None}),
    Case("tls", PASSES, asks, exchange, lambda: {"tls": True}, tls=True),
    Case("tls_wrong_byte", fails(MISSPELLED), misspells, exchange, lambda: {"tls": True}, tls=True),
    Case("tls_plain_client", fails(r"TLS"), client(send(b"PING\r\n"), READ_END), exchange, lambda: {"tls": True}),
    Case("unix_path", PASSES, unix, exchange, unix_path, sockets=True, needs="unix"),
    Case("unix_path_watched", fails(r"wait_closed"), client(*ASK, DROP), exchange, unix_path, only="asynchronous",
         sockets=True, needs="unix_clients"),
    Case("unix_path_wrong_byte", fails(MISSPELLED), misspells, exchange, unix_path, sockets=True, needs="unix"),
    Case("framing", PASSES, client(send(b"4:PING,"), CLOSE),
         script(lambda s: s.expect_frame(b"PING"), lambda s: s.expect_disconnect()), lambda: {"framing": Netstring()}),
    Case("framing_by_default", PASSES, client(send(b"\0\0\0\4PING"), CLOSE),
         script(lambda s: s.expect_frame(b"PING"), lambda s: s.expect_disconnect())),
    Case("framing_other_length", fails(r"expected.*PING"), client(send(b"\0\5PINGS"), read(1)),
         script(lambda s: s.expect_frame(b"PING"), lambda s: s.expect_disconnect()),
         lambda: {"framing": LengthPrefixed(2)}),
    Case("ending", PASSES, client(send(b"PING\n"), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.expect_disconnect()), lambda: {"ending": b"\n"}),
    Case("ending_by_default", fails(r"PING"), client(send(b"PING\n"), read(1)),
         script(lambda s: s.expect_line(b"PING", timeout=0.02), lambda s: s.expect_disconnect())),
    Case("allow_open", PASSES, stays, script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")),
         lambda: {"allow_open": True}),
    Case("allow_open_by_default", fails(r"still connected"), stays,
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")), waits=True),
    Case("allow_extra", PASSES, client(send(b"PING\r\nmore"), read(6), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG")), lambda: {"allow_extra": True}),
    Case("allow_extra_by_default", fails(r"4 more bytes|more"), client(send(b"PING\r\nmore"), read(6), CLOSE),
         script(lambda s: s.expect_line(b"PING"), lambda s: s.send_line(b"PONG"))),
    Case("allow_remote", PASSES, everywhere, exchange, lambda: {"host": "0.0.0.0", "allow_remote": True},
         sockets=True),
    Case("allow_remote_by_default", raises(r"allow_remote=True", ""), asks, exchange, lambda: {"host": "0.0.0.0"},
         sockets=True),
    Case("watch_streams_off", PASSES, client(*ASK, END, READ_END), exchange, lambda: {"watch_streams": False},
         only="asynchronous"),
    Case("watch_streams", fails(r"wait_closed|close"), client(*ASK, END, READ_END), exchange, only="asynchronous"),
    Case("cancel_body_off", fails(MISSPELLED, "the body went on"), goes_on_after_the_failure, exchange,
         lambda: {"cancel_body": False}, only="asynchronous", waits=True),
    Case("transcript_limit", PASSES, forgets_the_beginning,
         script(lambda s: s.expect_bytes(_LONG), lambda s: s.expect_disconnect()), lambda: {"transcript_limit": 2}),
    Case("transcript_limit_by_default", PASSES, remembers_all, exchange),
    Case("outside_clients", fails(r"no client connected to .* for 0\.0"), forgets_the_client, exchange,
         lambda: {"outside_clients": True, "timeout": 0.02}, sockets=True),
    Case("outside_clients_by_default", fails(r"nothing is left that could connect"), forgets_the_client, exchange,
         lambda: {"timeout": 2}),
    Case("handler", PASSES, client(send(b"PING\r\n"), read(6), CLOSE), options=lambda: {"handler": echo}),
    Case("handler_partial_line", fails(r"PIN"), client(send(b"PIN"), END, READ_END), options=lambda: {"handler": echo}),
    Case("pipelining_off", fails(r"before|answer|pipelin"), pipelines, twice, lambda: {"pipelining": False}),
    Case("pipelining_off_in_turn", PASSES, in_turn, twice, lambda: {"pipelining": False}),
    Case("pipelining_grace", PASSES, in_turn, twice, lambda: {"pipelining": False, "pipelining_grace": 0.001}),
    Case("pipelining_grace_of_a_client_that_does_not_wait", fails(r"before it was answered"), sends_more_unanswered,
         options=lambda: {"pipelining": False, "pipelining_grace": 20}),
    Case("pipelining_by_default", PASSES, pipelines, twice),
    Case("network", PASSES, split, exchange, lambda: {"network": Network(chunk=2)}),
    Case("network_wrong_byte", fails(MISSPELLED), misspells, exchange, lambda: {"network": Network(chunk=1)}),
    Case("option_unknown", raises(r"unexpected keyword|no option|unknown|did you mean", ""), asks, exchange,
         lambda: {"time_out": 1}),
)
