"""What has led to an exception."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.harness.exceptions import chain_of, parts_of


class BaseExceptionGroup(Exception):
    """What Python has from 3.11 on, and the package `exceptiongroup` before."""

    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("unhandled errors")
        self.exceptions = exceptions


class CausesTests(unittest.TestCase):
    """Chains, and groups."""

    def setUp(self) -> None:
        self.errors: list[Any] = [error(number) for number, error in enumerate((KeyError, OSError, EOFError))]

    def test_parts_of_a_group(self) -> None:
        """Groups in groups have theirs; what is no group is its own part."""
        key, system, end = self.errors
        group = BaseExceptionGroup(key, BaseExceptionGroup(system, end))
        self.assertEqual(parts_of(group), self.errors)
        self.assertEqual(parts_of(key), [key])

    def test_chain_that_a_group_is_part_of(self) -> None:
        """It goes through the causes or contexts of each, once round where it is a circle."""
        key, system, end = self.errors
        group = BaseExceptionGroup(system)
        key.__cause__, system.__context__, end.__context__ = group, end, key
        self.assertEqual(chain_of(key)[:2], [key, group])
        self.assertCountEqual(chain_of(key), [key, group, system, end])
        self.assertEqual(chain_of(OSError())[1:], [])


if __name__ == "__main__":
    unittest.main()
