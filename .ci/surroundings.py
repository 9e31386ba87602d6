"""The surroundings in which users run their tests, as far as one Linux machine can have them.

Each is a function that runs the suite, and returns a line; it raises `Skipped` with the reason where it can't be had.
Most need root, for namespaces and other users. What Debian has, and the machine lacks, is installed.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Callable

from machine import ROOT, Failed, Skipped, bare_venv, last_line, ran, run, tool_venv

if TYPE_CHECKING:
    from gate import Gate

__all__ = ["SURROUNDINGS"]

_SUPPORT = ROOT / "tests" / "support"
_UNITTEST = ("-m", "unittest")
_NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
# About 250 bytes, as a TMPDIR: more than the path of a Unix-domain socket can have.
_ODD = "a folder with spaces, äöüß 漢字 " + "x" * 180


def simulated_platform(gate: Gate) -> str:
    """A loop with the Proactor's methods only; no /proc, netlink, Unix-domain socket, fork; a coarse clock."""
    return ran(gate.run(gate.empty, *_UNITTEST, env={"PYTHONPATH": str(_SUPPORT / "simulated")}))


def netlink_refused(gate: Gate) -> str:
    """The kernel doesn't tell what has become of a client's socket."""
    return ran(gate.run(gate.empty, *_UNITTEST, env={"PYTHONPATH": str(_SUPPORT / "silent")}))


def proc_hidden(gate: Gate) -> str:
    """There is no /proc."""
    hide = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs none /proc && exec "$@"', "sh")
    _needs_root_and(gate, *hide, "true")
    return ran(gate.run(*hide, gate.empty, *_UNITTEST))


def debian_python_as_a_user(gate: Gate) -> str:
    """Debian's own Python, -bb; no root, no HOME, a read-only checkout, a long odd TMPDIR, ASCII."""
    _install(gate, "/usr/bin/python3", "python3")
    place = _open_to_all(gate)
    _needs_root_and(gate, *_NOBODY, "ls", place)
    checkout, folder = place / "checkout", place / _ODD
    for name in gate.files():
        target = checkout / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    gate.run("chmod", "-R", "a+rX,a-w", checkout)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    user = (*_NOBODY, "env", "-i", "PATH=/usr/bin:/bin", "HOME=/nonexistent", f"TMPDIR={folder}", "LC_ALL=C",
            "PYTHONUTF8=0", "PYTHONIOENCODING=ascii", "PYTHONDONTWRITEBYTECODE=1")
    return ran(gate.run(*user, "/usr/bin/python3", "-bb", "-W", "error", *_UNITTEST, cwd=checkout))


def optimized_backwards_without_ipv6(gate: Gate) -> str:
    """-OO, the tests in reversed order, one processor, no IPv6."""
    alone = ("unshare", "-n", "sh", "-c",
             'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; ip link set lo up && exec taskset -c 0 "$@"', "sh")
    _install(gate, "/usr/sbin/ip", "iproute2")
    _needs_root_and(gate, *alone, "true")
    return ran(gate.run(*alone, gate.empty, "-OO", "-W", "error", "-m", "tests.support.backwards"))


def random_order(gate: Gate) -> str:
    """Under pytest, in two random orders."""
    python = tool_venv(gate.work, ["anyio", "pytest", "pytest-asyncio", "pytest-randomly", gate.distributions[0]])
    lines = []
    for seed in (1, 2):
        output = gate.run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--randomly-seed={seed}", "tests",
                          "--ignore=tests/pytest_plugin", "--ignore=tests/examples")
        lines.append(f"seed {seed}: {last_line(output)}")
    return "; ".join(lines)


def few_descriptors(gate: Gate) -> str:
    """64 descriptors for the process."""
    return ran(gate.run("sh", "-c", 'ulimit -n 64 && exec "$@"', "sh", gate.empty, *_UNITTEST))


def pypy(gate: Gate) -> str:
    """PyPy: the suite, with the README's examples."""
    _install(gate, "pypy3", "pypy3")
    python = bare_venv(gate.work, str(shutil.which("pypy3")))
    return ran(gate.run(python, *_UNITTEST))


SURROUNDINGS: tuple[Callable[[Gate], str], ...] = (
    pypy,
    simulated_platform,
    random_order,
    optimized_backwards_without_ipv6,
    debian_python_as_a_user,
    few_descriptors,
    proc_hidden,
    netlink_refused,
)


def _install(gate: Gate, command: str, package: str) -> None:
    """Install a package of Debian's, unless its command is there."""
    if shutil.which(command) is not None:
        return
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise Skipped(f"there is no {command}, and no way to install it")
    try:
        gate.run("apt-get", "install", "-y", "-q", "--no-install-recommends", package,
                 env={"DEBIAN_FRONTEND": "noninteractive"})
    except Failed as error:
        raise Skipped(f"there is no {command}, and it can't be installed: {str(error).splitlines()[-1]}") from None


def _needs_root_and(gate: Gate, *command: object) -> None:
    """Skip, unless this process is root's, and the command works."""
    if sys.platform != "linux" or os.geteuid() != 0:
        raise Skipped("needs root on Linux")
    try:
        run([str(part) for part in command], gate.work)
    except (Failed, OSError) as error:
        raise Skipped(f"doesn't work here: {' '.join(map(str, command))}: {str(error).splitlines()[0]}") from None


def _open_to_all(gate: Gate) -> Path:
    """Make a folder that every user can enter."""
    place = gate.work / "public"
    place.mkdir(exist_ok=True)
    gate.work.chmod(0o711)
    return place
