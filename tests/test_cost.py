"""What the server costs, where that can be counted rather than timed."""

from __future__ import annotations

import unittest

from tests.benchmarks.captures import captures_of_our_server
from tests.support.platforms import needs_readers


class CostTests(unittest.TestCase):
    """The price of a trivial test."""

    @needs_readers
    def test_stack_captures_when_the_loop_is_in_debug_mode(self) -> None:
        """A trivial test extracts at most 16 stacks on behalf of the server: unittest's debug mode makes them dear."""
        self.assertLessEqual(captures_of_our_server(), 16)
