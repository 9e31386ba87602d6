"""What users can call shows in `dir()`, and nothing else does; what has been promised stays.

The tables are the promise: names, parameters and defaults may be added to them, and nothing may be taken away.
"""

from __future__ import annotations

import asyncio
import inspect
import unittest
from typing import Any, Callable

import tcpclient_testing
from tcpclient_testing import (
    Connection,
    ExpectationError,
    MockTCPServer,
    MockTCPServerMixin,
    Network,
    ThreadedMockTCPServer,
    ThreadedMockTCPServerMixin,
    framing,
    matchers,
    tls,
)

EXPECTATIONS = """
    expect_bytes(data, *, timeout, within)
    expect_disconnect(*, wait_closed, timeout, within)
    expect_each(messages, *, framing, ending, timeout, within)
    expect_eof(*, timeout, within)
    expect_exactly(n, matcher, *, keep, timeout, within)
    expect_frame(payload, *, framing, timeout, within)
    expect_line(line, *, ending, timeout, within)
    expect_reset(*, timeout, within)
    expect_silence(seconds)
    expect_tls_failure(*, by, timeout, within)
    expect_until(separator, matcher, *, timeout, within)
"""

ACTIONS = """
    delay(seconds)
    disconnect(*, timeout, within)
    hand_over(handler)
    hold_until(event, *, timeout, within)
    pause_reading()
    reset(*, timeout, within)
    resume_reading()
    send_bytes(data, *, timeout, within)
    send_eof(*, timeout, within)
    send_frame(payload, *, framing, timeout, within)
    send_line(line, *, ending, timeout, within)
    set_network(conditions)
    start_tls(context, *, timeout, within)
"""

RULES = """
    allow(message, *, reply, times, framing)
    any_order()
    disconnect_after(n)
    every(seconds, data, *, framing)
    reset_after(n)
    stall_after(n)
"""

SERVER = """
    accept_connections()
    clear(exc, *, judge)
    close()
    expect_connect(*, timeout, within, after)
    fail_connections(n)
    refuse_connections()
    start()
    stop()
"""

#: Attributes that are no methods.
SERVER_ATTRIBUTES = [
    "address", "closed", "connections", "host", "log", "loop", "name", "port", "service_port", "transcript",
    "unix_path",
]
CONNECTION_ATTRIBUTES = ["index", "peername", "received", "sent", "splits", "tls"]

OPTIONS = {
    "host": None,
    "port": 0,
    "tls": None,
    "unix_path": None,
    "framing": None,
    "ending": b"\r\n",
    "watch_streams": True,
    "allow_open": False,
    "allow_extra": False,
    "allow_remote": False,
    "cancel_body": True,
    "transcript_limit": 1024 * 1024,
    "handler": None,
    "pipelining": True,
    "pipelining_grace": 0.01,
    "outside_clients": False,
    "network": None,
    "name": None,
}

PACKAGE = [
    "Connection", "ExpectationError", "MockTCPServer", "MockTCPServerMixin", "Network", "ScriptError", "Step",
    "ThreadedConnection", "ThreadedMockTCPServer", "ThreadedMockTCPServerMixin", "UnansweringAddress",
    "VirtualClockEventLoop", "virtual_policy", "framing", "matchers", "network", "tls",
]

MIXIN = ["start_tcpserver", "tcpserver", "tcpserver_options"]

ERROR = ["client_exception", "connection", "label", "mismatch", "step", "transcript"]

FUNCTIONS: dict[Any, str] = {
    matchers: """
        Digest(digest, *, algorithm, size)
        Exactly(data)
        JSON(expected, *, exact)
        Mismatch(summary, *, details, expected, received, offset, hint)
        Predicate(function, *, description)
        Regex(pattern, *, flags)
        StartsWith(prefix)
        Struct(layout, *fields, **named)
    """,
    framing: """
        Delimited(delimiter, *, max_length)
        FixedLength(length)
        LengthPrefixed(size, *, byteorder, includes_header, max_length)
        Netstring(*, max_length)
        Varint(*, max_length)
        read_frame(reader, *, framing)
        write_frame(writer, payload, *, framing)
    """,
    tls: """
        certificate_path(name)
        client_context(*, certificate, key, minimum_version, maximum_version)
        server_context(certificate, *, key, client_certificates, minimum_version, maximum_version)
    """,
}


def shown(thing: object) -> list[str]:
    """Return what `dir()` shows to a user."""
    return [name for name in dir(thing) if not name.startswith("_")]


def methods(*tables: str) -> dict[str, list[str]]:
    """Read tables of methods: the parameters of each, by its name."""
    lines = [line.strip() for table in tables for line in table.strip().splitlines()]
    parts = [line.rstrip(")").partition("(") for line in lines]
    return {name: [each.strip() for each in text.split(",") if each] for name, _, text in parts}


def parameters(function: Callable[..., Any]) -> tuple[list[str], set[str]]:
    """Return the parameters of a function that may be given by position, and the others."""
    found = [each for each in inspect.signature(function).parameters.values() if each.name != "self"]
    by_position = [
        {each.VAR_POSITIONAL: "*"}.get(each.kind, "") + each.name
        for each in found
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD, each.VAR_POSITIONAL)
    ]
    by_name = {
        {each.VAR_KEYWORD: "**"}.get(each.kind, "") + each.name
        for each in found
        if each.kind in (each.KEYWORD_ONLY, each.VAR_KEYWORD)
    }
    return by_position, by_name


def promised(wanted: list[str]) -> tuple[list[str], set[str]]:
    """Return the same of a row of a table."""
    border = wanted.index("*") if "*" in wanted else len(wanted)
    by_position = [each for each in wanted[:border] if not each.startswith("**")]
    return by_position, {each for each in wanted[border + 1 :] + wanted[:border] if each not in by_position}


class PublicFaceTests(unittest.IsolatedAsyncioTestCase):
    """What `dir()` shows."""

    def assert_shows(self, thing: object, *names: str) -> None:
        """Compare with what `dir()` shows of `thing`."""
        self.assertEqual(shown(thing), sorted(names))

    async def test_asynchronous_server(self) -> None:
        """The server, a connection, and steps, with and without a connection of their own."""
        async with MockTCPServer() as server:
            first = server.expect_connect()
            last = server.expect_disconnect()
            _, writer = await asyncio.open_connection(*server.address)
            self.assert_shows(
                server, "open", "join", *SERVER_ATTRIBUTES, *methods(SERVER, EXPECTATIONS, ACTIONS, RULES)
            )
            connection = await first
            self.assert_shows(
                connection, "frames", "join", "lines", *CONNECTION_ATTRIBUTES, *methods(EXPECTATIONS, ACTIONS, RULES)
            )
            self.assert_shows(first, "connection", "done", "exception", "label", "result")
            self.assert_shows(last, "done", "exception", "label", "result")
            writer.close()
            await writer.wait_closed()

    def test_threaded_server(self) -> None:
        """It shows what the other shows."""
        with ThreadedMockTCPServer() as server:
            self.assert_shows(
                server, "open", "join", *SERVER_ATTRIBUTES, *methods(SERVER, EXPECTATIONS, ACTIONS, RULES)
            )
            self.assertIsNotNone(server.loop)

    def test_package(self) -> None:
        """Public names and modules; each can be had."""
        self.assert_shows(tcpclient_testing, *PACKAGE)
        for name in PACKAGE:
            self.assertIsNotNone(getattr(tcpclient_testing, name))

    def test_mixins(self) -> None:
        """Beside what they override of a test case."""
        for mixin, more in ((MockTCPServerMixin, ["virtual_time"]),
                            (ThreadedMockTCPServerMixin, ["borrow_tcpserver"])):
            own = [name for name in shown(mixin) if not hasattr(unittest.IsolatedAsyncioTestCase, name)]
            self.assertEqual(own, sorted([*MIXIN, *more]))


class PromiseTests(unittest.TestCase):
    """Parameters and defaults: they are only added to."""

    def assert_keeps(self, owner: Any, *tables: str) -> None:
        """Compare the functions of `owner` with tables: parameters may have been added, at the end or by name."""
        for name, wanted in methods(*tables).items():
            with self.subTest(owner=owner, name=name):
                by_position, by_name = parameters(getattr(owner, name))
                first, others = promised(wanted)
                self.assertEqual(by_position[: len(first)], first)
                self.assertLessEqual(others, by_name | set(by_position[len(first) :]))

    def test_methods(self) -> None:
        """Those of servers and connections."""
        for server in MockTCPServer, ThreadedMockTCPServer:
            self.assert_keeps(server, SERVER, EXPECTATIONS, ACTIONS, RULES)
        self.assert_keeps(Connection, EXPECTATIONS, ACTIONS, RULES)
        self.assert_keeps(MockTCPServer, "join(*, final)", "open(loop)")
        self.assert_keeps(ThreadedMockTCPServer, "join(timeout, *, final)", "open()")

    def test_functions_of_modules(self) -> None:
        """Matchers, framings, certificates, network conditions."""
        for module, table in FUNCTIONS.items():
            self.assert_keeps(module, table)
        self.assert_keeps(tcpclient_testing, "Network(chunk, splits, latency, rate, seed)")
        self.assertEqual(Network(), Network(None, (), 0.0, None, None))

    def test_options_of_servers(self) -> None:
        """Their names, and their defaults."""
        found = inspect.signature(MockTCPServer).parameters
        self.assertEqual({name: found[name].default for name in OPTIONS}, OPTIONS)
        self.assertLessEqual({"timeout", "idle_timeout"}, set(found))
        self.assertEqual(list(found)[:2], ["host", "port"])
        server = MockTCPServer()
        environment = server._runtime.session.environment
        self.assertEqual((environment.timeout, environment.idle_timeout), (5.0, 30.0))

    def test_error(self) -> None:
        """The documented attributes of the verdict."""
        async def failing() -> None:
            async with MockTCPServer(timeout=0.01) as server:
                server.expect_connect()
        with self.assertRaises(ExpectationError) as caught:
            asyncio.run(failing())
        self.assertEqual([name for name in ERROR if not hasattr(caught.exception, name)], [])
