"""Each case of the contract under each of pytest's fixtures, with each plugin for asynchronous tests.

For each plugin, and each of its modes, all cases run in one session of pytest, in a process of its own. The sessions
run at the same time. They need pytest and the plugin.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path
from typing import Any, NamedTuple, Optional

from tests.support.pytest_runs import INI, plugin_arguments
from tests.support.readme import ROOT

from .case import Case
from .cases import CASES
from .choice import is_chosen
from .judging import Outcome, check

#: Writes down what each test has reported.
CONFTEST = """
import json

REPORTS = {}

def pytest_runtest_logreport(report):
    entry = REPORTS.setdefault(report.nodeid.rpartition("::")[2], {"reports": [], "skipped": False})
    entry["skipped"] = entry["skipped"] or report.skipped
    if report.failed:
        sections = "".join(f"\\n{title}\\n{text}" for title, text in report.sections)
        entry["reports"].append(report.longreprtext + sections)

def pytest_sessionfinish(session):
    with open("outcomes.json", "w") as file:
        json.dump(REPORTS, file)
"""

HEAD = """
import asyncio
import pytest
from tcpclient_testing import MockTCPServer, ThreadedMockTCPServer
from tests.contract.bodies import Tools, drive, drive_blocking
from tests.contract.cases import CASES
from tests.contract.surroundings import method
from tests.support.moments import shortened

@pytest.fixture
def short_moments():
    with shortened():
        yield

def options_of(request):
    return request.node.get_closest_marker("tcpserver").kwargs
"""

# Clients are ended after the verdict, by a fixture that was set up before the server.

ASYNCHRONOUS_HEAD = """
{fixture}
async def kept():
    made = []
    yield made
    for tools in made:
        tools.close()
    for _ in range(3):
        await asyncio.sleep(0)

# Fixtures as users write them.

{fixture}
async def users_fixture(request):
    async with MockTCPServer(**options_of(request)) as server:
        yield server

{fixture}
async def users_start_and_stop(request):
    server = await MockTCPServer(**options_of(request)).start()
    yield server
    await server.stop()
"""

ASYNCHRONOUS = """
{mark}@pytest.mark.tcpserver(**CASES["{case}"].options())
async def test_{fixture}_{case}(kept, {fixture}):
    case = CASES["{case}"]
    kept.append(Tools({server}, tls=case.tls, asynchronous=True))
    await drive(method(case, kept[-1]))
"""

BLOCKING_HEAD = """
@pytest.fixture
def kept():
    made = []
    yield made
    for tools in made:
        tools.close()

# A fixture as users write it.

@pytest.fixture
def users_threaded_fixture(request):
    with ThreadedMockTCPServer(**options_of(request)) as server:
        yield server
"""

BLOCKING = """
{mark}@pytest.mark.tcpserver(**CASES["{case}"].options())
def test_{fixture}_{case}(kept, {fixture}):
    case = CASES["{case}"]
    kept.append(Tools({server}, tls=case.tls, asynchronous=False))
    drive_blocking(method(case, kept[-1]))
"""

_WAITS = '@pytest.mark.usefixtures("short_moments")\n'

# A server with the case's options that outlives its test; after all tests another one has it, and is sound.

BORROWING_HEAD = """
from tests.contract.surroundings import another_test

@pytest.fixture(scope="module")
def started():
    servers = []
    yield servers
    for case, server in servers:
        if not server.closed:
            server.clear()
            drive_blocking(another_test(case, server, False))
        server.stop()

@pytest.fixture
def borrowed_threaded_tcpserver(started, borrow_tcpserver):
    def borrow(case):
        started.append((case, ThreadedMockTCPServer(**case.options()).start()))
        return borrow_tcpserver(started[-1][1])
    return borrow
"""

BORROWING = """
{mark}def test_{fixture}_{case}(kept, {fixture}):
    case = CASES["{case}"]
    kept.append(Tools({fixture}(case), tls=case.tls, asynchronous=False))
    drive_blocking(method(case, kept[-1]))
"""


class Session(NamedTuple):
    """A session of pytest: its plugin (a module; "" for none), the mode, how a test is marked, and the fixtures."""

    plugin: str
    mode: str
    mark: str
    fixtures: tuple[str, ...]

    @property
    def name(self) -> str:
        """A name for people, and for the folder."""
        return f"{self.plugin}_{self.mode}" if self.plugin else self.fixtures[0].partition("_")[0]

    @property
    def kind(self) -> str:
        """The kind of the servers."""
        return "asynchronous" if self.plugin else "threaded"

    def has(self, case: Case) -> bool:
        """Whether the case can be run here."""
        parts = case.parts or case.set_up is not None or case.tear_down is not None
        return not parts and case.only in ("", self.kind)

    def source(self) -> str:
        """Return the module with the tests."""
        template, head = (ASYNCHRONOUS, ASYNCHRONOUS_HEAD) if self.plugin else (BLOCKING, BLOCKING_HEAD)
        if self.name == "borrowed":
            template, head = BORROWING, BLOCKING_HEAD + BORROWING_HEAD
        decorator = "import pytest_asyncio\n@pytest_asyncio.fixture" if self.plugin == "pytest_asyncio" else \
            "@pytest.fixture"
        return HEAD + head.format(fixture=decorator) + "".join(
            template.format(mark=self.mark + (_WAITS if case.waits else ""), case=name, fixture=fixture,
                            server=f"{fixture}()" if fixture.endswith("factory") else fixture)
            for fixture in self.fixtures for name, case in CASES.items()
            if self.has(case) and is_chosen(fixture, case))


_ASYNCHRONOUS = ("tcpserver", "tcpserver_factory", "users_fixture", "users_start_and_stop")
_THREADED = ("threaded_tcpserver", "threaded_tcpserver_factory", "users_threaded_fixture")

SESSIONS = (
    Session("pytest_asyncio", "strict", "@pytest.mark.asyncio\n", _ASYNCHRONOUS),
    Session("pytest_asyncio", "auto", "", _ASYNCHRONOUS),
    Session("anyio", "strict", '@pytest.mark.anyio\n@pytest.mark.parametrize("anyio_backend", ["asyncio"])\n',
            _ASYNCHRONOUS),
    Session("", "strict", "", _THREADED),
    Session("", "strict", "", ("borrowed_threaded_tcpserver",)),
)


class Running:
    """The sessions, all of which run when the first outcome is asked for."""

    def __init__(self) -> None:
        self._folder: Optional[tempfile.TemporaryDirectory[str]] = None
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._outcomes: dict[str, dict[str, Any]] = {}

    def start(self) -> None:
        """Start them."""
        self._folder = tempfile.TemporaryDirectory()
        for session in SESSIONS:
            if not missing(session):
                self._processes[session.name] = self._start(session, Path(self._folder.name) / session.name)

    @staticmethod
    def _start(session: Session, folder: Path) -> subprocess.Popen[str]:
        folder.mkdir()
        (folder / "pytest.ini").write_text(INI.format(mode=session.mode, ignored="", more=""), encoding="utf-8")
        (folder / "conftest.py").write_text(CONFTEST, encoding="utf-8")
        (folder / "test_contract.py").write_text(session.source(), encoding="utf-8")
        without = [] if session.plugin == "pytest_asyncio" else ["-p", "no:asyncio"]
        arguments = ["-q", "--tb=native", "-p", "no:cacheprovider", *without, *plugin_arguments()]
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *arguments], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def outcomes(self, session: Session) -> dict[str, Any]:
        """Return what a session has written, as soon as it has ended."""
        if session.name not in self._outcomes:
            output, _ = self._processes[session.name].communicate(timeout=300)
            assert self._folder is not None
            path = Path(self._folder.name) / session.name / "outcomes.json"
            if not path.exists():
                raise AssertionError(f"the session has not ended well:\n{output}")
            self._outcomes[session.name] = json.loads(path.read_text(encoding="utf-8"))
        return self._outcomes[session.name]

    def stop(self) -> None:
        """End those that nobody has asked for."""
        for process in self._processes.values():
            process.kill()
            process.communicate()
        self._processes.clear()
        if self._folder is not None:
            self._folder.cleanup()


RUNNING = Running()


def missing(session: Session) -> str:
    """Return what a session needs and is not installed; "" if it can run."""
    return next((name for name in ("pytest", session.plugin) if name and importlib.util.find_spec(name) is None), "")


def setUpModule() -> None:
    """Start the sessions."""
    RUNNING.start()


def tearDownModule() -> None:
    """End them."""
    RUNNING.stop()


def _test(session: Session, fixture: str, case: str) -> Any:
    def test(self: unittest.TestCase) -> None:
        name = f"test_{fixture}_{case}"
        found = [each for key, each in RUNNING.outcomes(session).items() if key.partition("[")[0] == name]
        self.assertEqual(len(found), 1, f"the session has {len(found)} tests of {case}")
        check(self, CASES[case], Outcome(found[0]["reports"], found[0]["skipped"]))
    test.__doc__ = f"The case {case}: {CASES[case].expected.kind} {CASES[case].expected.pattern}."
    return test


def _tests(session: Session, fixture: str) -> type[unittest.TestCase]:
    title = "".join(word.capitalize() for word in f"{fixture}_{session.name}".split("_"))
    why = missing(session)
    tests = {f"test_{name}": _test(session, fixture, name) for name, case in CASES.items()
             if session.has(case) and is_chosen(fixture, case)}
    made = type(f"{title}Tests", (unittest.TestCase,), {
        "__doc__": f"The fixture {fixture}, with the plugin {session.plugin or 'of pytest alone'} {session.mode}.",
        "__module__": __name__, **tests})
    return unittest.skipIf(why, f"needs {why}")(made)


for _session in SESSIONS:
    for _fixture in _session.fixtures:
        _made = _tests(_session, _fixture)
        globals()[_made.__name__] = _made
del _made


if __name__ == "__main__":
    unittest.main()
