"""The examples, in memory: one switch, and the same verdicts."""

from __future__ import annotations

import importlib
import pkgutil
import unittest
from collections.abc import Iterator
from typing import Any

from tcpclient_testing import MockTCPServerMixin
from tests import examples

#: Examples whose clients need sockets of the operating system, and why.
NEED_SOCKETS = {
    "test_amqp": "pika makes a socket of its own",
    "test_curl": "curl is another process",
}


def classes() -> Iterator[tuple[str, type[Any]]]:
    """Yield the classes of the examples that use the asynchronous mixin, and the names of their modules."""
    for module in pkgutil.iter_modules(examples.__path__):
        loaded = importlib.import_module(f"{examples.__name__}.{module.name}")
        for value in vars(loaded).values():
            if isinstance(value, type) and issubclass(value, MockTCPServerMixin) \
                    and value.__module__ == loaded.__name__:
                yield module.name, value


def outcome_of(case: type[Any]) -> tuple[int, list[str], list[str]]:
    """Run the tests of a class. Return how many there are, and which fail, and which are skipped."""
    result = unittest.TestResult()
    suite = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    count = suite.countTestCases()  # result.testsRun leaves out what is skipped, or doesn't, from version to version
    suite.run(result)
    failing = [f"{test.id()}\n{text}" for test, text in result.failures + result.errors]
    return count, failing, [test.id().rpartition(".")[2] for test, _ in result.skipped]


class ExampleTests(unittest.TestCase):
    """Each example is run as it stands, but with `in_memory=True` among the options of its servers."""

    def test_examples(self) -> None:
        """Those that can run in memory pass there, too; the others fail, and say why."""
        passed = 0
        for name, case in classes():
            options = {**case.tcpserver_options, "in_memory": True}
            in_memory = type(case.__name__, (case,), {"tcpserver_options": options, "__module__": case.__module__})
            count, failing, skipped = outcome_of(in_memory)
            with self.subTest(example=name, case=case.__name__):
                if name in NEED_SOCKETS:
                    self.assertTrue(len(skipped) == count or "in_memory=True" in "".join(failing), failing)
                    continue
                self.assertEqual(failing, [])
                passed += count - len(skipped)
        self.assertGreater(passed, 10)


if __name__ == "__main__":
    unittest.main()
