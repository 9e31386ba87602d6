"""Runs the suite, or the tests that are named, in reverse: no test may need what an earlier one has left behind.

python -m tests.support.backwards [unittest's arguments]
"""

from __future__ import annotations

import unittest
from collections.abc import Iterable
from typing import Union

__all__: list[str] = []


class _Backwards(unittest.TestSuite):
    """A suite that takes its tests in reverse. Suites within it do, too, so that all of the order is turned round."""

    def __init__(self, tests: Iterable[Union[unittest.TestCase, unittest.TestSuite]] = ()) -> None:
        super().__init__(reversed(list(tests)))


if __name__ == "__main__":
    loader = unittest.TestLoader()
    loader.suiteClass = _Backwards  # type: ignore[assignment,unused-ignore]
    unittest.main(module=None, testLoader=loader)
