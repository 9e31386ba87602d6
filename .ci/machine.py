"""What the stages stand on: commands with a time limit, virtual environments, the interpreters of this machine."""

from __future__ import annotations

import glob
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import IO, NamedTuple, NoReturn, Optional, Union

__all__ = [
    "ROOT",
    "Failed",
    "Interpreter",
    "Skipped",
    "bare_venv",
    "interpreters",
    "last_line",
    "ran",
    "run",
    "tool_venv",
    "when_interrupted_end_all",
]

ROOT = Path(__file__).resolve().parent.parent

# Seconds for one command; a slow machine takes ten minutes for the longest one. A suite that hangs ends here with the
# stacks of its threads, not in the CI's own limit.
TIME_LIMIT = 1500.0

_running: set[subprocess.Popen[bytes]] = set()
_interrupted = threading.Event()

Command = Union[str, Sequence[Union[str, Path]]]


class Failed(Exception):
    """A stage failed; the text says why and holds the output that shows it."""


class Skipped(Exception):
    """A stage has nothing to do here; the text says why."""


class Interpreter(NamedTuple):
    """A CPython of this machine: its version, such as (3, 12, 1), and its executable."""

    version: tuple[int, ...]
    executable: str

    @property
    def name(self) -> str:
        """The version as people write it, 3.12.1."""
        return ".".join(map(str, self.version))


def clean_environment(work: Path, extra: Optional[dict[str, str]] = None) -> dict[str, str]:
    """Return this process's environment without what would change a test run, and with caches outside the tree."""
    removed = ("PYTHON", "PYTEST", "COVERAGE", "VIRTUAL_ENV", "TCPCLIENT_TESTING_TEST_LOOP")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(removed)}
    kept["PYTHONPYCACHEPREFIX"] = str(work / "pycache")
    kept["HYPOTHESIS_STORAGE_DIRECTORY"] = str(work / "hypothesis")
    kept.update(extra or {})
    return kept


def run(
    command: Command, work: Path, *, cwd: Path = ROOT, env: Optional[dict[str, str]] = None, limit: float = TIME_LIMIT
) -> str:
    """Run a command (a list, or a line for the shell) and return what it printed, or raise `Failed` with all of it.

    `env` adds to the cleaned environment; `limit` is in seconds. The command reads nothing: stdin is empty.
    """
    if _interrupted.is_set():
        raise Failed("interrupted")  # a worker thread that was about to begin its next command
    # A file, not a pipe: a grandchild that outlives the command would keep a pipe open for ever.
    with tempfile.TemporaryFile(dir=work) as output:
        process = subprocess.Popen(
            command if isinstance(command, str) else [str(part) for part in command],
            shell=isinstance(command, str),
            cwd=cwd,
            env=clean_environment(work, env),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, so that its children can be ended too
        )
        _running.add(process)
        try:
            status = process.wait(limit)
        except subprocess.TimeoutExpired:
            _end(process)
            _fail(command, f"still running after {limit:g} s", output)
        except BaseException:
            _end(process)
            raise
        finally:
            _running.discard(process)
        if status:
            _fail(command, f"exit status {status}", output)
        return _text(output)


def last_line(output: str) -> str:
    """Return the last line of an output, where tools put their summary."""
    return output.rstrip().rpartition("\n")[2]


def ran(output: str) -> str:
    """Return unittest's summary in one line; raise `Failed` if it ran no test at all."""
    count = re.search(r"^Ran (\d+) tests? in .*$", output, re.MULTILINE)
    if count is None or count[1] == "0":
        raise Failed(f"{output.rstrip()}\n\nno test was run")
    return f"{count[0]}, {last_line(output)}"


def _fail(command: Command, why: str, output: IO[bytes]) -> NoReturn:
    line = command if isinstance(command, str) else " ".join(map(str, command))
    raise Failed(f"{_text(output).rstrip()}\n\n{why}: {line}")


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    return output.read().decode("utf-8", "replace")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command and its children; SIGABRT first, upon which Python's development mode prints every stack."""
    if sys.platform == "win32":
        process.kill()
    else:
        for number in (signal.SIGABRT, signal.SIGKILL):
            try:
                os.killpg(process.pid, number)
                process.wait(3)
            except (ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
                continue
    process.wait()


def when_interrupted_end_all() -> None:
    """Let SIGINT and SIGTERM end every running command: they run in groups that the terminal does not reach."""

    def interrupt(_number: int, _frame: Optional[FrameType]) -> NoReturn:
        _interrupted.set()
        for process in tuple(_running):
            _end(process)
        raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupt)


def bare_venv(work: Path, executable: str = sys.executable) -> Path:
    """Make an environment with nothing in it, not even pip, and return its python."""
    return _venv(work, executable, "--without-pip")


def tool_venv(work: Path, requirements: Sequence[Union[str, Path]], executable: str = sys.executable) -> Path:
    """Make an environment, install `requirements` (pip's arguments) from the package index, and return its python."""
    python = _venv(work, executable)
    run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *requirements], work)
    return python


def _venv(work: Path, executable: str, *options: str) -> Path:
    place = Path(tempfile.mkdtemp(prefix="venv-", dir=work))
    run([executable, "-m", "venv", *options, place], work)
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def interpreters(work: Path) -> list[Interpreter]:
    """Return this interpreter and every CPython >= 3.9 that pyenv has installed, each version once, lowest first."""
    found: dict[tuple[int, ...], Interpreter] = {}
    versions = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    question = "import sys; print(sys.implementation.name, *sys.version_info[:3])"
    for executable in [sys.executable, *sorted(glob.glob(str(versions / "*" / "bin" / "python")))]:
        try:
            name, *version = run([executable, "-c", question], work).split()
        except (Failed, OSError):
            continue  # a broken installation is not this project's fault
        number = tuple(map(int, version))
        if name == "cpython" and number >= (3, 9):
            found.setdefault(number, Interpreter(number, executable))
    return [found[number] for number in sorted(found)]
