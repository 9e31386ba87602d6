"""What importing the package adds to asyncio and unittest."""

from __future__ import annotations

import compileall
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import tcpclient_testing

from .measuring import OURS, Goal, Scenario

__all__ = ["import_time"]

_PROGRAM = """
import asyncio, unittest, unittest.async_case, time
started = time.process_time()
import tcpclient_testing
tcpclient_testing.MockTCPServerMixin
print(time.process_time() - started)
"""


def import_time() -> Scenario:
    """CPU time of the import in a fresh interpreter that has asyncio and unittest loaded.

    It is that of a compiled copy, since a working copy may never have been compiled (PYTHONDONTWRITEBYTECODE).
    """
    folder = tempfile.TemporaryDirectory()
    source = Path(tcpclient_testing.__file__).parent
    copy = Path(folder.name, source.name)
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns("__pycache__"))
    compileall.compile_dir(copy, quiet=2)
    environment = {**os.environ, "PYTHONPATH": folder.name}

    def ours(keep: object = folder) -> float:
        return float(subprocess.run([sys.executable, "-c", _PROGRAM], env=environment, cwd=folder.name, check=True,
                                    stdout=subprocess.PIPE).stdout)
    return Scenario("import", "import, beside asyncio and unittest", "ms", Goal(10.0), {OURS: ours})
