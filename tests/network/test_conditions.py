"""Tests of network conditions as values: what can be asked for, and what can't."""

from __future__ import annotations

import copy
import pickle
import unittest

import tcpclient_testing
from tcpclient_testing.network import Network
from tcpclient_testing.network.conditions import checked_network


class NetworkTests(unittest.TestCase):
    """The value itself."""

    def test_repr_makes_the_value_again(self):
        """Evaluating the repr gives an equal value, whatever was asked for."""
        for network in (Network(), Network(chunk=1), Network(chunk=(1, 9), seed=5), Network(splits=(4, 17)),
                        Network(splits={2: (4,), 1: ()}), Network(latency=0.5, rate=100), Network(seed=3)):
            with self.subTest(network=network):
                again = eval(repr(network), {"Network": Network})
                self.assertEqual(again, network)
                self.assertEqual(hash(again), hash(network))

    def test_repr_says_only_what_was_asked_for(self):
        """What is as ever is left out."""
        self.assertEqual(repr(Network(chunk=1)), "Network(chunk=1)")
        self.assertEqual(repr(Network(splits=[4, 17], latency=1)), "Network(splits=(4, 17), latency=1.0)")

    def test_seed_is_made_when_sizes_are_random(self):
        """Random sizes have a seed, which differs each time and is in the repr; nothing else needs one."""
        first, second = Network(chunk=(1, 9)), Network(chunk=(1, 9))
        self.assertIsInstance(first.seed, int)
        self.assertNotEqual(first, second)
        self.assertIn(f"seed={first.seed}", repr(first))
        self.assertIsNone(Network(chunk=3).seed)

    def test_value_is_not_changed(self):
        """Attributes can be neither set nor deleted, and the splits that are handed out are copies."""
        network = Network(splits={1: (4,)})
        with self.assertRaisesRegex(AttributeError, "make another one to set chunk"):
            network.chunk = 3
        with self.assertRaises(AttributeError):
            del network.chunk
        network.splits[1] = (5,)
        self.assertEqual(network.splits_of(1), (4,))

    def test_value_is_copied(self):
        """Copies and pickles are equal, seeds and all."""
        network = Network(chunk=(1, 9), splits={2: (4,)})
        self.assertEqual(copy.deepcopy(network), network)
        self.assertEqual(pickle.loads(pickle.dumps(network)), network)

    def test_values_are_compared(self):
        """Values differ as soon as one argument does, and from everything else."""
        self.assertNotEqual(Network(chunk=1), Network(chunk=2))
        self.assertNotEqual(Network(), "Network()")

    def test_short_paths_lead_to_the_same_class(self):
        """`tcpclient_testing.Network` is `tcpclient_testing.network.Network`."""
        self.assertIs(tcpclient_testing.Network, Network)

    def test_bad_values_are_refused(self):
        """What can't be raises an error that names the argument."""
        for options, error, text in (
            ({"chunk": 0}, ValueError, r"chunk=\.\.\.\) is a number of bytes from 1, not 0"),
            ({"chunk": 1.5}, TypeError, "chunk=.*is a number of bytes, not float"),
            ({"chunk": True}, TypeError, "chunk=.*not bool"),
            ({"chunk": (9, 1)}, ValueError, "chunk=.*9 is more than 1"),
            ({"chunk": (1, 2, 3)}, ValueError, "chunk=.*a pair"),
            ({"chunk": (0, 3)}, ValueError, "chunk=.*from 1"),
            ({"splits": (4, 4)}, ValueError, "splits=.*offsets rise, and 4 comes after 4"),
            ({"splits": (4, 2)}, ValueError, "splits=.*offsets rise, and 2 comes after 4"),
            ({"splits": (-1,)}, ValueError, "splits=.*greater than 0.*not -1"),
            ({"splits": (0,)}, ValueError, "splits=.*greater than 0"),
            ({"splits": 4}, TypeError, r"splits=.*such as \(4, 17\), not 4"),
            ({"splits": "4"}, TypeError, "splits=.*not '4'"),
            ({"splits": (True,)}, TypeError, "splits=.*integers, not True"),
            ({"splits": {0: (1,)}}, ValueError, "numbered from 1, 0 is none"),
            ({"splits": {"1": (1,)}}, TypeError, "numbers of connections"),
            ({"splits": {2: (3, 1)}}, ValueError, "{2: .*1 comes after 3"),
            ({"latency": -1}, ValueError, "latency=.*not less than 0, not -1"),
            ({"latency": "1"}, TypeError, "latency=.*number of seconds, not str"),
            ({"rate": 0}, ValueError, "rate=.*bytes per second greater than 0, not 0"),
            ({"rate": float("inf")}, ValueError, "rate=.*greater than 0, not inf"),
            ({"seed": "x"}, TypeError, "seed=.*an integer, not str"),
        ):
            with self.subTest(options=options), self.assertRaisesRegex(error, text):
                Network(**options)


class ShaperOfTests(unittest.TestCase):
    """Which connection is shaped, and how."""

    def sizes(self, network, number, count, offset=0):
        """The sizes of the chunks that `count` bytes make."""
        shaper = network.shaper(number, offset)
        shaper.give(bytes(count))
        return [len(shaper.next(0.0)[1]) for _ in range(count) if len(shaper)]

    def test_connection_without_conditions_has_no_shaper(self):
        """Where nothing is asked for, nothing stands in the way."""
        self.assertIsNone(Network().shaper(1))
        self.assertIsNone(Network(splits={2: (4,)}).shaper(1))
        self.assertIsNone(Network(seed=3).shaper(1))

    def test_splits_are_those_of_the_connection(self):
        """A mapping gives each connection its own splits, a tuple all of them the same."""
        self.assertEqual(self.sizes(Network(splits={2: (4,)}), 2, 10), [4, 6])
        self.assertEqual(self.sizes(Network(splits=(4,)), 7, 10), [4, 6])

    def test_random_sizes_repeat_with_the_seed(self):
        """The same seed and connection give the same sizes, within the limits; another connection others."""
        network = Network(chunk=(1, 9), seed=42)
        sizes = self.sizes(network, 1, 500)
        self.assertEqual(self.sizes(Network(chunk=(1, 9), seed=42), 1, 500), sizes)
        self.assertNotEqual(self.sizes(network, 2, 500), sizes)
        self.assertEqual(set(sizes[:-1]), set(range(1, 10)))

    def test_sizes_of_a_seed_are_the_same_on_every_python(self):
        """A seed from one interpreter's report repeats the run on another."""
        self.assertEqual(self.sizes(Network(chunk=(1, 9), seed=42), 1, 40), SIZES_OF_42)

    def test_rate_alone_makes_small_chunks(self):
        """A throttled stream comes in pieces of a fiftieth of a second, of one byte at least."""
        self.assertEqual(self.sizes(Network(rate=500), 1, 25), [10, 10, 5])
        self.assertEqual(self.sizes(Network(rate=3), 1, 2), [1, 1])

    def test_network_is_checked(self):
        """Conditions or None pass, everything else is refused by the name of its argument."""
        network = Network(chunk=1)
        self.assertIs(checked_network("x", network), network)
        self.assertIsNone(checked_network("x", None))
        with self.assertRaisesRegex(TypeError, r"^x is a Network such as Network\(chunk=1\), or None, not int: 5$"):
            checked_network("x", 5)


SIZES_OF_42 = [9, 6, 7, 8, 5, 4, 1]
