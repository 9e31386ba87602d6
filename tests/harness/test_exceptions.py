"""What has led to an exception."""

from __future__ import annotations

import unittest
from typing import Any

from tcpclient_testing.harness.exceptions import ConversationSoFar, attach_by_chain, chain_of, parts_of, shown_chain


class BaseExceptionGroup(Exception):
    """What Python has from 3.11 on, and the package `exceptiongroup` before."""

    def __init__(self, *exceptions: Exception) -> None:
        super().__init__("unhandled errors")
        self.exceptions = exceptions


class Equal(Exception):
    """An exception that equals every other one of its class, as those made by `dataclass` may, and is false."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)

    def __len__(self) -> int:
        return 0

    __hash__ = None  # type: ignore[assignment]


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

    def test_chain_of_exceptions_that_are_equal(self) -> None:
        """Each is in the chain once: they are told apart by identity. What is attached goes behind the last one."""
        first, second = Equal(), Equal()
        first.__cause__, second.__cause__ = second, OSError("the cause")
        self.assertEqual([id(each) for each in chain_of(first)], [id(first), id(second), id(second.__cause__)])
        self.assertEqual(len(shown_chain(first)), 3)
        cause, told = second.__cause__, ConversationSoFar()
        attach_by_chain(first, told)
        self.assertIs(second.__cause__, cause)
        self.assertIs(cause.__context__, told)


if __name__ == "__main__":
    unittest.main()
