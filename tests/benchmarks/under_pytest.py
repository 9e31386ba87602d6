"""What single tests cost under pytest, in a process of their own: the set-up of their fixtures, the call, the end."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from pathlib import Path

__all__ = ["costs_of_tests"]

_ROOT = Path(__file__).parents[2]

# Each test's CPU time and, where a test calls `record`, that instead.
_CONFTEST = """
import json, os, time
import pytest

FIGURES = {}

@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    started = time.process_time()
    yield
    FIGURES.setdefault(item.name.partition("[")[0], []).append(time.process_time() - started)

@pytest.fixture
def record(request):
    return lambda seconds: FIGURES.setdefault(request.node.name + " recorded", []).append(seconds)

def pytest_sessionfinish():
    with open(os.environ["FIGURES"], "w") as file:
        json.dump(FIGURES, file)
"""


def costs_of_tests(interpreter: str, tests: str, *arguments: str) -> dict[str, float]:
    """Run the source text `tests` with pytest; return the median CPU time of each test function, in seconds.

    What a test function passes to the fixture `record` is under its name and " recorded". RuntimeError with pytest's
    output if a test fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pytest.ini").write_text("[pytest]\n")  # or it would take one from a folder above
        Path(folder, "conftest.py").write_text(_CONFTEST)
        Path(folder, "test_cost.py").write_text(tests)
        figures = Path(folder, "figures.json")
        environment = {**os.environ, "PYTHONPATH": str(_ROOT), "FIGURES": str(figures)}
        command = [interpreter, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments, folder]
        done = subprocess.run(command, cwd=folder, env=environment, check=False, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        if done.returncode:
            raise RuntimeError(f"pytest under {interpreter} failed:\n{done.stdout}")
        return {name: statistics.median(seconds) for name, seconds in json.loads(figures.read_text()).items()}
