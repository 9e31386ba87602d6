"""What all conversations of a server share: time, settings, commands, and the one verdict."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.commands import Command, GiveUp, StartTimer
from tcpclient_testing.engine.environment import Environment, Failure
from tcpclient_testing.engine.mismatches import Mismatch


class Dropped(Command):
    """A command that notes that it is not carried out."""

    __slots__ = ("drops",)

    def __init__(self) -> None:
        super().__init__(1)
        self.drops = 0

    def drop(self) -> None:
        self.drops += 1


NO_HOST: Any = None


def failure(text: str) -> Failure:
    """A verdict."""
    return Failure(1, None, Mismatch(text), 2.0)


class EnvironmentTests(unittest.TestCase):
    def setUp(self) -> None:
        self.environment = Environment(NO_HOST, 5.0, 30.0)

    def test_settings_when_some_are_configured(self) -> None:
        """Those that are named change, and the others stay."""
        self.environment.configure(scale=2.0, timeout=None)
        self.assertEqual((self.environment.scale, self.environment.timeout, self.environment.idle_timeout),
                         (2.0, None, 30.0))

    def test_setting_when_there_is_none_of_the_name(self) -> None:
        """A name that is mistyped, or that of the state, is refused."""
        for name in ("time_out", "over", "failure"):
            with self.subTest(name=name), self.assertRaisesRegex(TypeError, f"there is no setting '{name}'"):
                self.environment.configure(**{name: 1})

    def test_news_when_nothing_is_decided(self) -> None:
        """News sets the time, and matters."""
        self.assertTrue(self.environment.news(3.0))
        self.assertEqual(self.environment.now, 3.0)

    def test_news_when_all_is_over(self) -> None:
        """News after the end does not matter, and time stands still."""
        self.environment.leave()
        self.assertFalse(self.environment.news(3.0))
        self.assertEqual(self.environment.now, 0.0)

    def test_reminder_when_an_earlier_one_is_asked_for(self) -> None:
        """Only a deadline before the one that is set gives a command."""
        for deadline in (5.0, 6.0, 4.0, 4.0):
            self.environment.remind(deadline)
        self.assertEqual([command.deadline for command in self.environment.commands
                          if isinstance(command, StartTimer)], [5.0, 4.0])
        self.assertEqual(self.environment.reminder, 4.0)

    def test_reminder_when_its_time_has_come(self) -> None:
        """The next deadline is set, however late it is."""
        self.environment.remind(4.0)
        self.environment.reminded(self.environment.now)
        self.environment.remind(9.0)
        self.assertEqual(self.environment.reminder, 9.0)

    def test_look_when_a_reminder_is_set(self) -> None:
        """A look before it is timed, and leaves it as it is; a look after it costs nothing."""
        self.environment.remind(5.0)
        for at in (6.0, 4.0, 4.5):
            self.environment.look(at)
        self.environment.remind(4.5)
        self.assertEqual([command.deadline for command in self.environment.commands
                          if isinstance(command, StartTimer)], [5.0, 4.0])
        self.assertEqual((self.environment.reminder, self.environment.look_at), (4.5, 4.0))

    def test_reminder_when_it_is_only_time_for_a_look(self) -> None:
        """It is still to come; when its time has come, it isn't."""
        self.environment.remind(5.0)
        self.environment.look(4.0)
        self.assertEqual(self.environment.reminded(4.0), 5.0)
        self.assertEqual((self.environment.reminder, self.environment.look_at), (None, None))
        self.environment.remind(5.0)
        self.assertIsNone(self.environment.reminded(5.0))

    def test_time_when_it_stood_still(self) -> None:
        """Waking up sets the time, and when the server has been awake since."""
        self.environment.woke_up(7.0)
        self.environment.news(8.0)
        self.assertEqual((self.environment.now, self.environment.awake_since), (8.0, 7.0))

    def test_verdict_when_there_are_two_failures(self) -> None:
        """The first failure is the verdict."""
        first = failure("first")
        self.environment.fail(first)
        self.environment.fail(failure("second"))
        self.assertIs(self.environment.failure, first)
        self.assertEqual([type(command) for command in self.environment.commands], [GiveUp])

    def test_verdict_when_the_server_was_left(self) -> None:
        """Nothing fails after the end."""
        self.environment.leave()
        self.environment.fail(failure("late"))
        self.assertEqual((self.environment.failure, self.environment.commands), (None, []))

    def test_commands_when_the_script_fails(self) -> None:
        """What was to be done is dropped, once, and there is nothing left but to give up."""
        dropped = Dropped()
        self.environment.commands.append(dropped)
        self.environment.fail(failure("x"))
        self.environment.fail(failure("y"))
        self.assertEqual(dropped.drops, 1)
        self.assertNotIn(dropped, self.environment.commands)

    def test_commands_when_all_ends_with_a_verdict(self) -> None:
        """A failure that is found in the end gives no command."""
        self.environment.end_with(failure("x"))
        self.assertEqual((self.environment.over, self.environment.commands), (True, []))

    def test_clients_when_they_are_counted(self) -> None:
        """Those that were accepted, and those that were turned away, are counted apart."""
        self.environment.client_accepted()
        self.environment.client_turned_away()
        self.environment.client_turned_away()
        self.assertEqual((self.environment.accepted, self.environment.turned_away), (1, 2))


class FailureTests(unittest.TestCase):
    """What a failure says beside those of other servers."""

    @staticmethod
    def failure(now: float, received: bytes = b"", **kind: bool) -> Failure:
        """A verdict of this kind."""
        return Failure(1, None, Mismatch("wrong", received=received), now, **kind)

    def test_in_vain(self) -> None:
        """A server has only waited if nothing came, or the client went away, and no part of a message came."""
        self.assertTrue(self.failure(1.0, overdue=True).in_vain)
        self.assertTrue(self.failure(1.0, at_end=True).in_vain)
        self.assertFalse(self.failure(1.0).in_vain)
        self.assertFalse(self.failure(1.0, b"PA", overdue=True).in_vain)
        self.assertFalse(self.failure(1.0, b"PA", at_end=True).in_vain)

    def test_order(self) -> None:
        """The earliest comes first; at about the same time, the one that tells more does."""
        in_order = [
            self.failure(1.0),
            self.failure(2.04, b"PA", overdue=True),  # about as late as the next one
            self.failure(2.0, overdue=True),
            self.failure(3.0005),  # in the same turn of the loop as the next one
            self.failure(3.0, at_end=True),
            self.failure(3.1),
        ]
        other_way_round = in_order[::-1]
        other_way_round.sort(key=lambda each: each.order)
        self.assertEqual(other_way_round, in_order)


class CallTests(unittest.TestCase):
    def test_call_when_one_is_under_way(self) -> None:
        """A call that another one causes is made after those that wait already."""
        environment, made = Environment(NO_HOST, None, None), list[str]()

        def first() -> None:
            environment.call([lambda: made.append("third")])
            made.append("first")

        environment.call([first, lambda: made.append("second")])
        self.assertEqual(made, ["first", "second", "third"])

    def test_chain_when_it_is_long(self) -> None:
        """Calls that cause calls do not recurse."""
        environment, count = Environment(NO_HOST, None, None), 0

        def again() -> None:
            nonlocal count
            count += 1
            if count < 10_000:
                environment.call([again])

        environment.call([again])
        self.assertEqual(count, 10_000)

    def test_call_when_the_one_before_it_has_raised(self) -> None:
        """The exception passes; calls that were still queued are made with the next one, and before it."""
        environment, made = Environment(NO_HOST, None, None), list[str]()
        with self.assertRaises(ZeroDivisionError):
            environment.call([lambda: made.append(str(1 // 0)), lambda: made.append("queued")])
        environment.call([lambda: made.append("next")])
        self.assertEqual(made, ["queued", "next"])


if __name__ == "__main__":
    unittest.main()
