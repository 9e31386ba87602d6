"""The same scripts and clients, over sockets and in memory: whatever a test can see is the same."""

from __future__ import annotations

import sys
import unittest

from tests.support.long import ALL, LONG
from tests.support.parity import Play, differences, play

#: How many random plays there are: in a short run, in the gate, and by hand.
PLAYS = 200_000 if LONG else 2_000 if ALL else 40


@unittest.skipUnless(sys.platform == "linux", "memory does what Linux does; others differ in places")
class ParityTests(unittest.TestCase):
    """Each play is a seed of `tests.support.parity`."""

    def test_random_plays(self) -> None:
        """Verdict, failing step, results, order, bytes and ends agree."""
        failures = 0
        for seed in range(PLAYS):
            over_sockets, in_memory = play(seed, in_memory=False), play(seed, in_memory=True)
            self.assertEqual(differences(over_sockets, in_memory), [], f"seed {seed}")
            failures += over_sockets.verdict is not None
        self.assertTrue(0.2 < failures / PLAYS < 0.8, "plays that fail, and plays that don't")

    def test_plays_differ(self) -> None:
        """The comparison sees what differs: other plays, and one that goes another way."""
        plays = [play(seed, in_memory=True) for seed in range(10)]
        self.assertTrue(all(differences(one, other) for one, other in zip(plays, plays[1:])))
        one = next(each for each in plays if each.verdict is None)
        for name in ("results", "order", "clients", "received", "notes"):
            self.assertNotEqual(differences(one, one._replace(**{name: {1: ["other"]}})), [], name)

    def test_plays_are_what_their_seeds_say(self) -> None:
        """A seed gives the same script and the same clients each time."""
        self.assertEqual(repr(vars(Play(3))["scripts"]), repr(vars(Play(3))["scripts"]))


if __name__ == "__main__":
    unittest.main()
