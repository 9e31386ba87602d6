"""The script of a connection, and the cursor that says how far it has come."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.engine.environment import Environment
from tcpclient_testing.engine.steps.base import Gate, Script, Step


class Some(Step[None]):
    """A step with the traits that a test gives it."""

    def __init__(self, **traits: Any) -> None:
        super().__init__(())
        for name, value in traits.items():
            setattr(self, name, value)


class ScriptTestCase(unittest.TestCase):
    def setUp(self) -> None:
        host: Any = None
        self.environment = Environment(host, 5.0, None)
        self.script = Script(self.environment, 3)

    def add(self, *steps: Some) -> None:
        """Append these steps."""
        for step in steps:
            self.script.add(step)


class CursorTests(ScriptTestCase):
    def test_position_when_it_moves(self) -> None:
        """The steps before it are satisfied; each position that it has had is marked with its time."""
        one, two = Some(), Some()
        self.add(one, two)
        self.environment.set_time(4.0)
        self.script.cursor.move_to(1)
        self.assertEqual((one.satisfied, two.satisfied), (True, False))
        self.environment.set_time(6.0)
        self.script.cursor.move_to(2)
        self.assertEqual((two.satisfied, self.script.cursor.marks), (True, [(1, 4.0), (2, 6.0)]))

    def test_position_when_it_would_go_back(self) -> None:
        """It never does, and nothing is marked."""
        self.add(Some(), Some())
        self.script.cursor.move_to(2)
        self.script.cursor.move_to(1)
        self.script.cursor.move_to(2)
        self.assertEqual((self.script.cursor.position, self.script.cursor.marks), (2, [(2, 0.0)]))

    def test_watcher_when_its_step_is_satisfied(self) -> None:
        """It is told once, and not of other steps; one that comes late is told at once."""
        one, two = Some(), Some()
        self.add(one, two)
        told: list[str] = []
        for name, step in (("two", two), ("one", one), ("one again", one)):
            self.script.cursor.when_done(step, lambda name=name: told.append(name))  # type: ignore[misc]
        self.script.cursor.tell_watchers()
        self.assertEqual(told, [])
        self.script.cursor.move_to(1)
        self.script.cursor.tell_watchers()
        self.script.cursor.tell_watchers()
        self.assertEqual(told, ["one", "one again"])
        self.script.cursor.when_done(one, lambda: told.append("late"))
        self.assertEqual(told[2:], ["late"])

    def test_number_when_the_script_goes_to_another_connection(self) -> None:
        """All of its steps are of that one at once, without being touched."""
        step = Some()
        self.add(step)
        self.assertEqual((step.cursor.number, step.cursor.handle), (3, None))
        self.script.cursor.belong_to(1, "handle", lambda _: None)
        self.assertEqual((step.cursor.number, step.cursor.handle), (1, "handle"))


class ScriptTests(ScriptTestCase):
    def test_index_when_a_step_is_inserted(self) -> None:
        """Every step knows its place."""
        first, last, between = Some(), Some(), Some()
        self.add(first, last)
        self.script.insert(1, between)
        self.assertEqual(self.script.steps, [first, between, last])
        self.assertEqual([step.index for step in self.script.steps], [0, 1, 2])
        self.assertIs(between.cursor, self.script.cursor)

    def test_order_when_steps_are_put_in_another(self) -> None:
        """They stand where they were put; those before stay."""
        first, two, three = Some(), Some(), Some()
        self.add(first, two, three)
        self.script.put_in_order(1, [three, two])
        self.assertEqual(self.script.steps, [first, three, two])
        self.assertEqual([first.index, two.index, three.index], [0, 2, 1])

    def test_traits_when_a_step_is_added(self) -> None:
        """The script takes note of what ends a direction, and of what hands over; of two ends of input the first."""
        eof, again, ending, handing = Some(ends_input=True), Some(ends_input=True), Some(ends_output=True), \
            Some(hands_over=True)
        self.add(Some(), eof, again, ending, handing)
        self.assertIs(self.script.input_ended, eof)
        self.assertIs(self.script.output_ended, ending)
        self.assertIs(self.script.handed_over, handing)

    def test_settled_when_steps_can_only_wait(self) -> None:
        """A free step that is not satisfied settles the script; another step, an ended stream, or news unsettle it."""
        free = Some(free=True)
        self.add(Some(), free)
        self.assertFalse(self.script.settled)
        self.script.settle()
        self.assertTrue(self.script.settled)
        self.script.stir()
        self.assertFalse(self.script.settled)
        self.script.cursor.move_to(2)
        self.script.settle()  # it is satisfied already, so the next step would have its turn
        self.assertFalse(self.script.settled)
        later = Some()
        self.add(later)
        self.script.settle()  # it is not free
        self.assertFalse(self.script.settled)
        after = Some(free=True)
        self.add(Some(ends_output=True), after)
        self.script.settle()
        self.assertFalse(self.script.settled)

    def test_last_when_steps_are_appended_fast(self) -> None:
        """It is the last server-level step: one that was appended, or added as such."""
        one, two, three, four = Some(), Some(), Some(), Some()
        self.add(one)
        self.assertIsNone(self.script.last)
        self.add(two)
        self.script.add(four, by_server=True)
        self.assertIs(self.script.last, four)
        self.script.append(three)
        self.assertIs(self.script.last, three)
        self.assertEqual((three.index, three.cursor), (3, self.script.cursor))

    def test_due_when_the_cursor_moves(self) -> None:
        """It is the step at the cursor, and none at the end; the final step is the last one written."""
        self.assertEqual((self.script.due, self.script.final, self.script.complete), (None, None, True))
        one, two = Some(), Some()
        self.add(one, two)
        self.assertEqual((self.script.due, self.script.final, self.script.complete), (one, two, False))
        self.script.cursor.move_to(2)
        self.assertEqual((self.script.due, self.script.complete), (None, True))

    def test_complete_when_a_handler_adds_steps(self) -> None:
        """What comes after the hand-over does not count, but the hand-over itself does."""
        self.add(Some(hands_over=True), Some())
        self.assertFalse(self.script.complete)
        self.script.cursor.move_to(1)
        self.assertTrue(self.script.complete)

    def test_expectation_before_when_actions_are_between(self) -> None:
        """The last expectation before the place is meant, not an action and not a later one."""
        expected, action = Some(), Some(is_expectation=False)
        self.add(expected, action, Some())
        self.assertEqual([self.script.expectation_before(index) for index in (0, 1, 2)], [None, expected, expected])

    def test_gate_when_the_script_waits(self) -> None:
        """It is what the script waits for; none lets it begin, and a plain one finds no connection."""
        gate = Gate()
        self.script.wait_for(gate)
        self.assertIs(self.script.gate, gate)
        self.assertFalse(gate.finds_connection)
        self.script.wait_for(None)
        self.assertIsNone(self.script.gate)


if __name__ == "__main__":
    unittest.main()
