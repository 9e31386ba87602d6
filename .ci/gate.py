"""The gate: every check of the project, one stage after another, stopping at the first that fails.

    bash .ci/run                 all stages
    bash .ci/run lint types      these stages, with what they need
    bash .ci/run --list          the stages' names

Everything is made in a temporary directory, which is removed at the end; nothing is left in the tree. A stage that
fails prints the whole output of the command that failed.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import time
import traceback
import zipfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Callable, Optional

from machine import (
    ROOT,
    Failed,
    Interpreter,
    Skipped,
    bare_venv,
    interpreters,
    last_line,
    ran,
    run,
    tool_venv,
    when_interrupted_end_all,
)
from surroundings import SURROUNDINGS

# Python with the checks that a released library should pass in its users' hands.
STRICT = ("-X", "dev", "-W", "error")
# The same for the children of a test.
STRICT_CHILDREN = {"PYTHONDEVMODE": "1", "PYTHONWARNINGS": "error"}

# The event loops that the suite is run on beside asyncio's own; the tests read this variable.
LOOPS = ("uvloop",)
LOOP_VARIABLE = "TCPCLIENT_TESTING_TEST_LOOP"

# The versions of pytest that the plugin is tested under: requirements, the lowest and the highest Python for them.
PYTESTS = (
    (("pytest==7.4.*", "pytest-asyncio==0.23.*"), (3, 9), (3, 13)),
    (("pytest==8.4.*", "pytest-asyncio==1.*"), (3, 9), (3, 14)),
    (("pytest==9.*", "pytest-asyncio==1.*"), (3, 10), (3, 99)),
)
PYTEST_PLUGINS = ("anyio", "pytest-xdist", "trio")

# Suites that run at the same time. The machines of public CI services have two cores.
PARALLEL = 2


class Gate:
    """What the stages share; each part is made when the first stage asks for it."""

    def __init__(self, work: Path) -> None:
        self.work = work

    @cached_property
    def empty(self) -> Path:
        """The python of an environment with nothing installed."""
        return bare_venv(self.work)

    @cached_property
    def tools(self) -> Path:
        """The python of an environment with every tool, every optional library, and the wheel."""
        wheel, _ = self.distributions
        return tool_venv(self.work, ["-r", ROOT / ".ci" / "requirements.txt", f"{wheel}[test]"])

    @cached_property
    def distributions(self) -> tuple[Path, Path]:
        """The wheel and the source distribution, built from a copy of the tree: a build leaves files behind."""
        copy, built = self.work / "tree", self.work / "dist"
        for name in self.files():
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
        builder = tool_venv(self.work, ["build"])
        # The wheel is built from the source distribution, so that this is shown to be complete.
        run([builder, "-m", "build", "--outdir", built, copy], self.work)
        return next(built.glob("*.whl")), next(built.glob("*.tar.gz"))

    @cached_property
    def interpreters(self) -> list[Interpreter]:
        """The interpreters of this machine that the package supports."""
        return interpreters(self.work)

    def files(self) -> list[str]:
        """Return the project's files as git sees them, relative to the root; all files where there is no git."""
        try:
            listed = run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], self.work)
            names = [name for name in listed.split("\0") if name]
        except (Failed, OSError):
            names = [str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if "__pycache__" not in path.parts]
        return [name for name in names if (ROOT / name).is_file()]

    def run(self, *command: object, cwd: Path = ROOT, env: Optional[dict[str, str]] = None) -> str:
        """Run a command, from the root of the project unless told otherwise."""
        return run([str(part) for part in command], self.work, cwd=cwd, env=env)


def readme(gate: Gate) -> str:
    """The two commands at the top of the README, as they stand there, with nothing installed."""
    path = os.pathsep.join([str(gate.empty.parent), os.environ["PATH"]])
    example, suite = gate.run(gate.empty, "-m", "tests.support.readme").splitlines()
    outputs = [run(command, gate.work, env={"PATH": path}) for command in (example, suite)]
    return f"$ {example}\n{last_line(outputs[0])}\n$ {suite}\n{ran(outputs[1])}"


def guards(gate: Gate) -> str:
    """The tests of the project's own form: layers, ownership of fields, packaging, the README's examples."""
    return ran(gate.run(gate.empty, *STRICT, "-m", "unittest", *[f"tests.test_{name}" for name in GUARDS]))


GUARDS = ("layering", "ownership", "packaging", "readme")


def distributions(gate: Gate) -> str:
    """A wheel and a source distribution are built; each installs and imports; what should be in them is."""
    wheel, source = gate.distributions
    packed = set(zipfile.ZipFile(wheel).namelist())
    wanted = {name for name in gate.files() if name.startswith("tcpclient_testing/")}
    if missing := sorted(wanted - packed):
        raise Failed(f"not in {wheel.name}: {', '.join(missing)} (see options.package_data in setup.cfg)")
    if foreign := sorted(name for name in packed - wanted if ".dist-info/" not in name):
        raise Failed(f"in {wheel.name}, but no file of the package in the tree: {', '.join(foreign)}")
    for distribution in (wheel, source):
        python = tool_venv(gate.work, [distribution])
        gate.run(python, *STRICT, "-c", IMPORT_INSTALLED, cwd=gate.work)
    return f"{wheel.name}, {source.name}"


IMPORT_INSTALLED = """
import pathlib, sys, tcpclient_testing
package = pathlib.Path(tcpclient_testing.__file__).parent
assert pathlib.Path(sys.prefix).resolve() in package.resolve().parents, f"imported from {package}"
assert (package / "py.typed").is_file(), f"no py.typed in {package}"
"""


def unpacked(gate: Gate) -> str:
    """The suite passes in an unpacked source distribution, with nothing installed."""
    _, source = gate.distributions
    place = gate.work / "unpacked"
    with tarfile.open(source) as archive:
        if sys.version_info >= (3, 12):
            archive.extractall(place, filter="data")
        else:
            archive.extractall(place)
    return ran(gate.run(gate.empty, *STRICT, "-m", "unittest", cwd=place / source.name[: -len(".tar.gz")]))


def install(gate: Gate) -> str:
    """The tools and the optional libraries, from the package index."""
    return gate.run(gate.tools, "--version").strip()


def lint(gate: Gate) -> str:
    """Ruff, with the rules in pyproject.toml."""
    return last_line(gate.run(gate.tools, "-m", "ruff", "check", "--no-cache"))


def types(gate: Gate) -> str:
    """Mypy, strict, on the package, the examples, and the engine's drivers, as Linux, macOS and Windows see them."""
    cache = gate.work / "mypy"
    for platform in ("win32", "darwin", "linux"):
        result = gate.run(gate.tools, "-m", "mypy", "--cache-dir", cache, "--platform", platform)
    return last_line(result)


def coverage(gate: Gate) -> str:
    """The suite under pytest with every optional library, and its branch coverage."""
    env = {"COVERAGE_FILE": str(gate.work / "coverage"), **STRICT_CHILDREN}
    tests = gate.run(gate.tools, *STRICT, *COVERAGE, "run", "-m", *PYTEST, env=env)
    report = gate.run(gate.tools, *COVERAGE, "report", env=env)
    return f"{last_line(tests)}\n{report.rstrip()}"


def thorough(gate: Gate) -> str:
    """The suite under unittest with every optional library: the tests that last, too, and all pairs of the contract."""
    env = {"TCPCLIENT_TESTING_TESTS": "all", **STRICT_CHILDREN}
    return ran(gate.run(gate.tools, *STRICT, "-m", "unittest", env=env))


COVERAGE = ("-m", "coverage")
# A test that hangs shows its stacks after a minute; the command goes on until its own time limit.
PYTEST = ("pytest", "-q", "-ra", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=60")


def suite(gate: Gate) -> str:
    """The suite under unittest on every interpreter of this machine, with nothing installed."""

    def on(interpreter: Interpreter) -> Callable[[Gate], str]:
        def one(gate: Gate) -> str:
            python = bare_venv(gate.work, interpreter.executable)
            return ran(gate.run(python, *STRICT, "-m", "unittest", env=STRICT_CHILDREN))
        return one
    return side_by_side(gate, [(f"Python {each.name}", on(each)) for each in gate.interpreters])


def side_by_side(gate: Gate, parts: Sequence[tuple[str, Callable[[Gate], str]]]) -> str:
    """Run the parts of a stage, some at a time; return a line for each. If any has failed, raise `Failed` with all."""

    def one(part: tuple[str, Callable[[Gate], str]]) -> tuple[str, float, str, Optional[bool]]:
        name, function = part
        started = time.monotonic()
        try:
            output, passed = function(gate), True
        except Skipped as reason:
            output, passed = f"skipped: {reason}", None
        except Failed as error:
            output, passed = str(error), False
        return name, time.monotonic() - started, output, passed

    with ThreadPoolExecutor(PARALLEL) as pool:
        results = list(pool.map(one, parts))
    lines = [f"{name}: {seconds:.1f} s, {'failed' if good is False else text}" for name, seconds, text, good in results]
    if bad := [f"----- {name}\n{text}" for name, _, text, good in results if good is False]:
        raise Failed("\n\n".join(["\n".join(lines), *bad]))
    return "\n".join(lines)


def loops(gate: Gate) -> str:
    """The suite under unittest on other event loops than asyncio's."""
    if not any(LOOP_VARIABLE in path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")):
        raise Skipped(f"no test reads {LOOP_VARIABLE} yet")
    return "\n".join(
        f"{loop}: {ran(gate.run(gate.tools, *STRICT, '-m', 'unittest', env={LOOP_VARIABLE: loop}))}" for loop in LOOPS
    )


def pytests(gate: Gate) -> str:
    """The pytest plugin's tests under each version of pytest that it supports."""
    tests = sorted(path.relative_to(ROOT) for path in (ROOT / "tests" / "pytest_plugin").glob("test_*.py"))
    tests.append(Path("tests", "mistakes", "test_under_pytest.py"))
    if not tests:
        raise Skipped("there are no tests/pytest_plugin/test_*.py yet")
    lines = []
    for requirements, lowest, highest in PYTESTS:
        fitting = [each for each in gate.interpreters if lowest <= each.version[:2] <= highest]
        # This very interpreter if it will do: pip has fetched its wheels already.
        fitting.sort(key=lambda each: each.version == sys.version_info[:3])
        if not fitting:
            lines.append(f"{requirements[0]}: no Python between {lowest} and {highest} on this machine")
            continue
        python = tool_venv(gate.work, [*requirements, *PYTEST_PLUGINS, gate.distributions[0]], fitting[-1].executable)
        output = gate.run(python, *STRICT, "-m", *PYTEST, *tests, env=STRICT_CHILDREN)
        lines.append(f"{requirements[0]}, Python {fitting[-1].name}: {last_line(output)}")
    return "\n".join(lines)


def benchmarks(gate: Gate) -> str:
    """The benchmarks run; what they measure is not judged here."""
    if not (ROOT / "tests" / "benchmarks" / "__main__.py").exists():
        raise Skipped("there are no benchmarks yet")
    return gate.run(gate.empty, "-m", "tests.benchmarks", "--quick").rstrip()


def environments(gate: Gate) -> str:
    """The suite in the surroundings that users have: see surroundings.py."""
    return side_by_side(gate, [(each.__name__.replace("_", " "), each) for each in SURROUNDINGS])


# In this order: what is quick and what users meet first comes first.
STAGES: tuple[Callable[[Gate], str], ...] = (
    readme,
    guards,
    distributions,
    install,
    lint,
    types,
    coverage,
    thorough,
    loops,
    suite,
    unpacked,
    pytests,
    benchmarks,
    environments,
)


def indented(text: str) -> str:
    """Return `text` moved to the right, as the body of a stage's report."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())


def perform(stage: Callable[[Gate], str], gate: Gate) -> Optional[bool]:
    """Run one stage and print its name, time and result: True if it passed, False if not, None if it was skipped."""
    print(f"{stage.__name__}: {stage.__doc__}", flush=True)
    started = time.monotonic()
    try:
        result, passed = stage(gate), True
    except Skipped as reason:
        result, passed = str(reason), None
    except Failed as error:
        result, passed = str(error), False
    except Exception:  # the gate itself is at fault: still a failure, and still counted
        result, passed = traceback.format_exc(), False
    word = {True: "passed", False: "FAILED", None: "skipped"}[passed]
    print(f"{indented(result)}\n    {word} in {time.monotonic() - started:.1f} s\n", flush=True)
    return passed


def main(arguments: list[str]) -> int:
    """Run the stages that `arguments` name, or all, and return the exit status."""
    stages = {stage.__name__: stage for stage in STAGES}
    if arguments == ["--list"]:
        print("\n".join(f"{name:<14} {stage.__doc__}" for name, stage in stages.items()))
        return 0
    if unknown := [name for name in arguments if name not in stages]:
        print(f"no such stage: {', '.join(unknown)}; there are: {', '.join(stages)}")
        return 2
    when_interrupted_end_all()
    counts = {True: 0, False: 0, None: 0}
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tcpclient-testing-gate-") as work:
        gate = Gate(Path(work))
        for name in arguments or stages:
            passed = perform(stages[name], gate)
            counts[passed] += 1
            if passed is False:
                print(f"the stage '{name}' failed, the stages after it were not run; alone: bash .ci/run {name}")
                break
    seconds = time.monotonic() - started
    print(f"Python {sys.version.split()[0]} on {sys.platform}, {seconds:.0f} s, {counts[None]} stages skipped")
    print(f"{counts[True]} passed, {counts[False]} failed")
    return 1 if counts[False] else 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted")
