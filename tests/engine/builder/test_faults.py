"""Arguments, and places in a script, of faults and network conditions."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.builder.faults import ServerFaultMethods
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer
from tcpclient_testing.network import Network

BREAKS = ("reset_after", "disconnect_after", "stall_after")


class ArgumentTests(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()
        self.server.expect_connect()
        self.faults: Any = type("Server", (ServerFaultMethods,), {"_add": lambda _, step: self.server._add(step)})()

    def test_counts_are_checked_where_they_are_written(self) -> None:
        """A negative number is a ValueError, what is no integer a TypeError, and no step is written."""
        before = len(self.server.connection().conversation.script.steps)
        for target, methods in ((self.server, BREAKS), (self.faults, ("fail_connections",))):
            for method in methods:
                for wrong, error in ((-1, ValueError), ("3", TypeError), (1.0, TypeError), (None, TypeError),
                                     (True, TypeError)):
                    with self.subTest(method=method, wrong=wrong), self.assertRaisesRegex(error, rf"{method}\(n\)"):
                        getattr(target, method)(wrong)
        self.assertEqual(len(self.server.connection().conversation.script.steps), before)
        with self.assertRaisesRegex(TypeError, r"fail_connections\(n\) takes a number of connections, got 'x'"):
            self.faults.fail_connections("x")

    def test_conditions_are_a_network_or_none(self) -> None:
        """Anything else is a TypeError that shows what one looks like; the class is no instance of itself."""
        for wrong in (5, "chunk=1", {"chunk": 1}):
            with self.subTest(wrong=wrong), self.assertRaisesRegex(TypeError, r"a Network such as Network\(chunk=1\)"):
                self.server.set_network(wrong)

    def test_steps_tell_what_they_are(self) -> None:
        """Their text is the call, as reports show it."""
        texts = [str(getattr(self.server, method)(3)) for method in BREAKS]
        texts += [str(self.faults.fail_connections(2)), str(self.faults.refuse_connections()),
                  str(self.server.set_network(Network(chunk=1)))]
        self.assertEqual(texts, ["reset_after(3)", "disconnect_after(3)", "stall_after(3)", "fail_connections(2)",
                                 "refuse_connections()", "set_network(Network(chunk=1))"])


class PlaceTests(unittest.TestCase):
    def test_nothing_can_be_broken_after_the_end(self) -> None:
        """After `disconnect()` and `reset()`, faults and conditions are a ScriptError that names the step."""
        for end in ("disconnect", "reset"):
            for method, argument in [(method, 3) for method in BREAKS] + [("set_network", Network(chunk=1)),
                                                                          ("set_network", None)]:
                with self.subTest(end=end, method=method, argument=argument):
                    server = MemoryServer()
                    server.expect_connect()
                    getattr(server, end)()
                    for place in (server, server.connection()):
                        with self.assertRaisesRegex(ScriptError, rf"{method}\(.*comes after {end}\(\) on connection 1"):
                            getattr(place, method)(argument)

    def test_nothing_can_be_broken_after_the_clients_end(self) -> None:
        """After `expect_disconnect()` and `expect_reset()` neither."""
        for end in ("expect_disconnect", "expect_reset"):
            for method, argument in [(method, 3) for method in BREAKS] + [("set_network", Network(chunk=1))]:
                with self.subTest(end=end, method=method):
                    server = MemoryServer()
                    server.expect_connect()
                    getattr(server, end)()
                    with self.assertRaisesRegex(ScriptError, rf"{method}\(.*comes after {end}\(\)"):
                        getattr(server, method)(argument)

    def test_breaks_need_a_connection(self) -> None:
        """Before the first `expect_connect()` there is no stream that could break."""
        for method in BREAKS:
            with self.subTest(method=method), self.assertRaises(ScriptError):
                getattr(MemoryServer(), method)(3)
