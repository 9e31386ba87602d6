"""The order of a server's steps across connections, and where its settings stand in it."""

from __future__ import annotations

import sys
import unittest
from typing import Any

from tcpclient_testing.engine.commands import FailConnections, SetAccepting
from tcpclient_testing.engine.origin import origin_of
from tcpclient_testing.engine.session.order import first_missing, when_all
from tcpclient_testing.engine.steps.base import Step
from tcpclient_testing.engine.steps.settings import FailConnectionsStep, SetAcceptingStep
from tcpclient_testing.memory.host import MemoryServer


class OrderTestCase(unittest.TestCase):
    def setUp(self) -> None:
        self.server = MemoryServer()

    def write(self, step: Step[Any]) -> Step[Any]:
        """Write a setting of the server."""
        self.server.session.add(step, self.server.now)
        self.server.written()
        return step

    def fail_connections(self, count: int) -> Step[Any]:
        """Write that the next connections fail."""
        return self.write(FailConnectionsStep(count, origin_of(sys._getframe(1))))

    def accepting(self, accepting: bool) -> Step[Any]:
        """Write that connections are accepted, or refused."""
        return self.write(SetAcceptingStep(accepting, origin_of(sys._getframe(1))))

    def applied(self) -> list[Any]:
        """What the settings that have been applied say, in their order."""
        said = []
        for command in self.server.settings:
            assert isinstance(command, (FailConnections, SetAccepting))
            said.append(command.count if isinstance(command, FailConnections) else command.accepting)
        return said


class ScriptTests(OrderTestCase):
    """Which step a connection's script waits for."""

    def test_steps_before_when_a_script_grows(self) -> None:
        """The last server-level step counts; what is written on the connection does not."""
        order = self.server.session.order
        self.assertEqual(order.steps_before(), [])
        connect = self.server.expect_connect()
        self.assertEqual(order.steps_before(), [connect])
        line = self.server.expect_line()
        self.server.connection().expect_eof()
        self.assertEqual(order.steps_before(), [line])

    def test_steps_before_when_messages_were_appended_fast(self) -> None:
        """Also of many steps in a row the last one counts."""
        self.server.expect_connect()
        steps = [self.server.expect_bytes(b"x") for _ in range(5)]
        self.assertEqual(self.server.session.order.steps_before(), [steps[-1]])

    def test_script_when_the_step_before_it_is_open(self) -> None:
        """It has a gate as long as the step is not satisfied, and begins then."""
        self.server.expect_connect()
        self.server.expect_bytes(b"a")
        later = self.server.expect_connect()
        self.server.connect()
        self.server.connect()
        self.assertIsNotNone(self.server.conversation(2).script.gate)
        self.assertFalse(later.satisfied)
        self.server.receive(b"a")
        self.assertIsNone(self.server.conversation(2).script.gate)
        self.assertTrue(later.satisfied)

    def test_script_when_all_before_it_is_done(self) -> None:
        """It waits for nothing."""
        self.server.expect_connect()
        self.server.connect()
        self.server.expect_connect()
        self.assertIsNone(self.server.conversation(2).script.gate)

    def test_steps_before_when_a_block_of_connections_has_ended(self) -> None:
        """Each script of the block counts, with its last step."""
        with self.server.any_order():
            lasts = []
            for name in (b"a", b"b"):
                self.server.expect_connect()
                lasts.append(self.server.expect_bytes(name))
        self.assertEqual(self.server.session.order.steps_before(), lasts)

    def test_steps_before_when_a_block_is_empty(self) -> None:
        """It is as if the block were not there."""
        connect = self.server.expect_connect()
        with self.server.any_order():
            pass
        self.assertEqual(self.server.session.order.steps_before(), [connect])


class SettingTests(OrderTestCase):
    """Settings, which belong to no connection."""

    def test_setting_when_a_step_before_it_is_open(self) -> None:
        """It is applied after that step, and what is written after it waits for it."""
        self.server.expect_connect()
        self.server.expect_bytes(b"a")
        setting = self.fail_connections(2)
        self.server.expect_connect()
        self.server.connect()
        self.server.connect()
        self.assertEqual((self.applied(), setting.status()), ([], "waiting"))
        self.assertIsNotNone(self.server.conversation(2).script.gate)
        self.server.receive(b"a")
        self.assertEqual((self.applied(), setting.satisfied), ([2], True))
        self.assertIsNone(self.server.conversation(2).script.gate)

    def test_setting_when_it_follows_a_block_of_connections(self) -> None:
        """It waits for all scripts of the block."""
        with self.server.any_order():
            for name in (b"a", b"b"):
                self.server.expect_connect()
                self.server.expect_bytes(name)
        self.fail_connections(1)
        for name in (b"b", b"a"):
            self.assertEqual(self.applied(), [])
            self.server.receive(name, self.server.connect())
        self.assertEqual(self.applied(), [1])

    def test_accepting_when_connections_are_refused(self) -> None:
        """It waits for nothing, not even for settings before it; `refusing` says how it stands."""
        order = self.server.session.order
        self.accepting(False)
        self.assertTrue(order.refusing)
        self.server.expect_connect()
        later = self.fail_connections(1)
        again = self.accepting(True)
        self.assertEqual((self.applied(), order.refusing), ([False, True], False))
        self.assertEqual((again.satisfied, later.satisfied, again.index < later.index), (True, False, True))

    def test_number_of_a_setting_when_it_is_shown(self) -> None:
        """It stands on no connection: its number is 0."""
        self.assertEqual(self.fail_connections(1).cursor.number, 0)


class WaitingTests(OrderTestCase):
    """Waiting for several steps."""

    def test_call_when_the_last_step_is_satisfied(self) -> None:
        """It is made then, once, whichever step is the last one."""
        for order in ((1, 2), (2, 1)):
            with self.subTest(order=order):
                self.setUp()
                self.server.expect_connect()
                self.server.expect_connect()
                steps = [self.server.connection(number).expect_bytes(b"x") for number in (1, 2)]
                for _ in steps:
                    self.server.connect()
                calls: list[int] = []
                when_all(steps, lambda calls=calls: calls.append(1))  # type: ignore[misc]
                for number in order:
                    self.assertEqual(calls, [])
                    self.assertIs(first_missing(steps), steps[0] if number == 1 or order == (2, 1) else steps[1])
                    self.server.receive(b"x", number)
                self.assertEqual((calls, first_missing(steps)), ([1], None))

    def test_call_when_there_is_nothing_to_wait_for(self) -> None:
        """It is made at once."""
        calls: list[int] = []
        when_all((), lambda: calls.append(1))
        self.assertEqual(calls, [1])


if __name__ == "__main__":
    unittest.main()
