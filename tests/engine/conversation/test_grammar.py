"""The grammar, pair by pair: which step may follow which, held against a table of the test's own."""

from __future__ import annotations

import threading
import unittest
from collections.abc import Iterator
from typing import Any, Callable, Optional

from tcpclient_testing.engine.builder.expectations import ScriptMethods
from tcpclient_testing.engine.conversation.grammar import GRAMMAR, check_begun, check_order
from tcpclient_testing.engine.steps.base import Script, Step
from tcpclient_testing.errors import ScriptError
from tcpclient_testing.memory.host import MemoryServer
from tests.support.long import lasting


async def serve(connection: Any) -> None:
    """Serve a connection that is handed over."""


#: One of each kind of step, by the method that writes it; a message that may be empty has an entry of its own.
WRITE: dict[str, Callable[[ScriptMethods], Step[Any]]] = {
    "expect_bytes": lambda script: script.expect_bytes(b"x"),
    "expect_line": lambda script: script.expect_line(),
    "expect_until": lambda script: script.expect_until(b";"),
    "expect_exactly": lambda script: script.expect_exactly(2),
    "expect_exactly (computed)": lambda script: script.expect_exactly(len),
    "expect_frame": lambda script: script.expect_frame(),
    "expect_each": lambda script: script.expect_each([b"x", b"y"]),
    "expect_eof": lambda script: script.expect_eof(),
    "expect_disconnect": lambda script: script.expect_disconnect(),
    "expect_reset": lambda script: script.expect_reset(),
    "expect_silence": lambda script: script.expect_silence(1),
    "expect_tls_failure": lambda script: script.expect_tls_failure(),
    "send_bytes": lambda script: script.send_bytes(b"x"),
    "send_line": lambda script: script.send_line(b"x"),
    "send_frame": lambda script: script.send_frame(b"x"),
    "send_eof": lambda script: script.send_eof(),
    "disconnect": lambda script: script.disconnect(),
    "disconnect (ragged)": lambda script: script.disconnect(close_notify=False),
    "reset": lambda script: script.reset(),
    "delay": lambda script: script.delay(1),
    "hold_until": lambda script: script.hold_until(threading.Event()),
    "start_tls": lambda script: script.start_tls(object()),
    "pause_reading": lambda script: script.pause_reading(),
    "resume_reading": lambda script: script.resume_reading(),
    "set_network": lambda script: script.set_network(None),
    "reset_after": lambda script: script.reset_after(1),
    "disconnect_after": lambda script: script.disconnect_after(1),
    "stall_after": lambda script: script.stall_after(1),
    "hand_over": lambda script: script.hand_over(serve),
}

ALL = frozenset(WRITE)
MESSAGES = frozenset({"expect_bytes", "expect_line", "expect_until", "expect_exactly", "expect_frame", "expect_each"})
SENDS = frozenset({"send_bytes", "send_line", "send_frame"})

#: What is refused directly after a step, on any server; after all others nothing is.
REFUSED_AFTER: dict[str, frozenset[str]] = {
    "expect_eof": MESSAGES | {"expect_silence", "expect_eof"},
    "send_eof": SENDS,
    "pause_reading": frozenset({"expect_silence", "start_tls"}),
    "start_tls": frozenset({"start_tls"}),
    "disconnect": ALL - {"expect_disconnect", "expect_reset"},
    "disconnect (ragged)": ALL - {"expect_disconnect", "expect_reset"},
    "reset": ALL,
    "expect_disconnect": ALL,
    "expect_reset": ALL,
    "expect_tls_failure": ALL,
    "hand_over": ALL,
}

#: The settings of each kind of server, what is refused everywhere on it, and what an expect_tls_failure() may follow.
SERVERS: dict[str, tuple[dict[str, Any], frozenset[str], frozenset[str]]] = {
    "plain": ({}, frozenset(), frozenset({"start_tls"})),
    "with tls=": ({"tls_context": object()}, frozenset({"start_tls"}), frozenset({"expect_connect"})),
    "at a path": ({"can_reset": False}, frozenset({"reset", "reset_after"}), frozenset({"start_tls"})),
}


def refused(server: str, earlier: str, later: str) -> bool:
    """Whether `later` has no place directly after `earlier`."""
    _, everywhere, shaken = SERVERS[server]
    if later == "expect_tls_failure":
        return earlier not in shaken
    if later == "disconnect (ragged)" and server != "with tls=" and earlier != "start_tls":
        return True
    return later in everywhere or later in REFUSED_AFTER.get(earlier, ())


def begun(server: str, earlier: str) -> Optional[MemoryServer]:
    """A server with a script that ends with `earlier`; None if that has no place there itself."""
    memory = MemoryServer()
    memory.session.environment.configure(**SERVERS[server][0])
    memory.expect_connect()
    if earlier == "expect_tls_failure" and server != "with tls=":
        memory.start_tls(object())
    elif earlier != "expect_connect" and refused(server, "expect_connect", earlier):
        return None
    if earlier != "expect_connect":
        WRITE[earlier](memory)
    return memory


def pairs() -> Iterator[tuple[str, str, str, MemoryServer]]:
    """Each kind of server, each earlier and each later step, and a server with a script as far as the earlier one."""
    for server in SERVERS:
        for earlier in ("expect_connect", *WRITE):
            for later in WRITE:
                memory = begun(server, earlier)
                if memory is not None:
                    yield server, earlier, later, memory


class Caught(MemoryServer):
    """Keeps the step that is written last, and puts it into no script."""

    step: Step[Any]

    def _add(self, step: Step[Any]) -> None:
        self.step = step


class PairTests(unittest.TestCase):
    @lasting
    def test_pair_of_steps_when_the_second_is_written(self) -> None:
        """It is refused, and not added, where the table says so, and else is added; on server and connection alike."""
        for server, earlier, later, memory in pairs():
            other = begun(server, earlier)
            assert other is not None
            for script, owner in ((memory, memory), (other.connection(), other)):
                before = len(owner.conversation().script.steps)
                with self.subTest(server=server, earlier=earlier, later=later, on=type(script).__name__):
                    if refused(server, earlier, later):
                        with self.assertRaisesRegex(ScriptError, rf"^{later.partition(' ')[0]}\("):
                            WRITE[later](script)
                    else:
                        WRITE[later](script)
                    self.assertEqual(len(owner.conversation().script.steps) - before,
                                     not refused(server, earlier, later))

    def test_kinds_of_steps_when_a_method_is_added(self) -> None:
        """Every method that writes a step has an entry in the table of this test."""
        methods = {name for name in dir(ScriptMethods) if not name.startswith("_")}
        self.assertEqual({name.partition(" ")[0] for name in WRITE}, methods - {"allow", "every", "any_order"})


class RowTests(unittest.TestCase):
    def judged(self) -> Iterator[tuple[int, bool]]:
        """For each pair each row that is about the later step, and whether it refuses that."""
        for _, _, later, memory in pairs():
            step = WRITE[later](Caught())
            for number, rule in enumerate(GRAMMAR):
                if any(getattr(step, trait) for trait in rule.about):
                    yield number, rule.barrier(memory.conversation().script, step) is not None

    def test_row_when_all_pairs_are_held_against_it(self) -> None:
        """Each row refuses at least one pair of those that it is about, and lets at least one through."""
        self.assertEqual(set(self.judged()), {(number, refuses) for number in range(len(GRAMMAR))
                                              for refuses in (False, True)})

    def test_row_when_it_is_the_only_one_that_refuses(self) -> None:
        """No row is idle: for each there is a pair that no other row refuses."""
        alone: set[int] = set()
        for _, _, later, memory in pairs():
            step, script = WRITE[later](Caught()), memory.conversation().script
            barred = [number for number, rule in enumerate(GRAMMAR)
                      if any(getattr(step, trait) for trait in rule.about) and rule.barrier(script, step) is not None]
            if len(barred) == 1 and script.handed_over is None:
                alone.update(barred)
        self.assertEqual(alone, set(range(len(GRAMMAR))))


class BeginningTests(unittest.TestCase):
    def test_step_when_its_script_has_not_begun(self) -> None:
        """Without an expect_connect() before it, it is refused; the text names the connection if there is one."""
        script = MemoryServer().conversation(2).script
        with self.assertRaisesRegex(ScriptError, r"^x comes before the first expect_connect\(\): every script begins"):
            check_begun(None, "x")
        with self.assertRaisesRegex(ScriptError, r"^x comes before the expect_connect\(\) of connection 2: every"):
            check_begun(script, "x")

    def test_step_of_a_handler_when_the_connection_was_handed_over(self) -> None:
        """Only the handler may add steps then, and for those the table holds as ever."""
        server = MemoryServer()
        server.expect_connect()
        server.hand_over(serve)
        script: Script = server.conversation().script
        line = WRITE["expect_line"](Caught())
        with self.assertRaisesRegex(ScriptError, "after which only the handler adds steps"):
            check_order(script, line)
        check_order(script, line, by_handler=True)
        server.session.add_to(server.conversation(), WRITE["expect_disconnect"](Caught()), 0.0, by_handler=True)
        with self.assertRaisesRegex(ScriptError, "where none may follow"):
            check_order(script, line, by_handler=True)


class RefusedTests(unittest.TestCase):
    """A step that is refused leaves no trace in the script."""

    def test_hand_over_when_it_is_refused(self) -> None:
        """The script is complete without it, and other steps are refused for the same reason as before."""
        async def handler(connection: object) -> None:
            """Never called."""

        server = MemoryServer()
        server.expect_connect()
        server.expect_disconnect()
        with self.assertRaisesRegex(ScriptError, r"hand_over\(.*handler\) comes after expect_disconnect\(\)"):
            server.connection().hand_over(handler)
        with self.assertRaisesRegex(ScriptError, r"expect_line\(\) comes after expect_disconnect\(\)"):
            server.expect_line()
        server.connect()
        server.half_close()
        self.assertTrue(server.session.complete)
        self.assertIsNone(server.verdict)

    def test_end_of_output_when_it_is_refused(self) -> None:
        """No later error names it."""
        server = MemoryServer()
        server.expect_connect()
        server.disconnect()
        for method, arguments in (("send_eof", ()), ("send_bytes", (b"x",))):
            with self.assertRaisesRegex(ScriptError, rf"{method}\(.*\) comes after disconnect\(\)"):
                getattr(server, method)(*arguments)


if __name__ == "__main__":
    unittest.main()
