"""The project's metadata say what is so, and its files are where they are said to be."""

from __future__ import annotations

import ast
import configparser
import fnmatch
import importlib
import importlib.util
import inspect
import os
import re
import shutil
import subprocess
import sys
import types
import unittest
from collections.abc import Iterator

import tcpclient_testing
from tests.support.long import lasting
from tests.support.readme import ROOT

PACKAGE = ROOT / "tcpclient_testing"

# What stands visibly at the top of the repository, and nothing else.
TOP_LEVEL = {"LICENSE", "README.rst", "pyproject.toml", "setup.cfg", "tcpclient_testing", "tests"}


def setup_cfg() -> configparser.ConfigParser:
    """Return setup.cfg, read."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def supported_versions() -> list[str]:
    """Return the versions of Python that the classifiers name, such as 3.9."""
    classifiers = setup_cfg()["metadata"]["classifiers"]
    return re.findall(r"^Programming Language :: Python :: (3\.\d+)$", classifiers, re.MULTILINE)


def undocumented_tests() -> Iterator[str]:
    """Yield the place of each test method that does not say what it shows."""
    # Examples are read by users: there the code is to speak for itself.
    files = [path for path in (ROOT / "tests").rglob("test_*.py") if "examples" not in path.parts]
    for path in sorted(files):
        module = ast.parse(path.read_text(encoding="utf-8"))
        # A test case inside of a test is what that test is about, and says so.
        cases = [node for node in module.body if isinstance(node, ast.ClassDef)]
        for node in [node for case in cases for node in case.body]:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            if node.name.startswith("test_") and not ast.get_docstring(node):
                yield f"{path.relative_to(ROOT)}:{node.lineno}: {node.name}"


def public_modules() -> Iterator[types.ModuleType]:
    """Yield the package itself and those of its modules that users import by a short name."""
    yield tcpclient_testing
    for name in ("framing", "matchers", "network", "sweeps", "tapes", "tls"):
        full_name = f"tcpclient_testing.{name}"
        if importlib.util.find_spec(full_name):
            yield importlib.import_module(full_name)


def undocumented_names() -> Iterator[str]:
    """Yield the public names, and the public methods of public classes, that nothing describes."""
    for module in public_modules():
        for name in getattr(module, "__all__", ()):
            thing = getattr(module, name)
            if not callable(thing):
                continue
            if not inspect.getdoc(thing):
                yield f"{thing.__module__}.{name}"
            for member in vars(thing) if isinstance(thing, type) else ():
                public = callable(getattr(thing, member)) and not member.startswith("_")
                if public and not inspect.getdoc(getattr(thing, member)):
                    yield f"{thing.__module__}.{name}.{member}"


class PublicNamesTests(unittest.TestCase):
    """What `import tcpclient_testing` offers."""

    def test_every_public_name_exists(self) -> None:
        """Each name in `__all__` is there, even those that are loaded on first use."""
        names = getattr(tcpclient_testing, "__all__", ())
        self.assertEqual([name for name in names if not hasattr(tcpclient_testing, name)], [])

    def test_dir_names_them(self) -> None:
        """dir() and completion know them, loaded or not, beside what every module has."""
        code = ("import tcpclient_testing as package; listed = dir(package); "
                "print({*package.__all__, '__doc__', '__name__'} - {*listed}, listed == sorted(listed))")
        done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
        self.assertEqual(done.stdout, "set() True\n", done.stderr)

    @unittest.skipIf(sys.flags.optimize > 1, "python -OO leaves docstrings out")
    def test_every_public_name_is_documented(self) -> None:
        """Each public class and function, and each of a class's public methods, has a docstring or inherits one."""
        self.assertEqual(sorted(set(undocumented_names())), [])


class NamesTests(unittest.TestCase):
    """What the modules say of their names."""

    def test_each_module_has_what_it_lists(self) -> None:
        """Every name in the `__all__` of a module can be imported from it."""
        for path in sorted(PACKAGE.rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            name = ".".join(part for part in parts if part != "__init__")
            if ("pytest_plugin" in parts and importlib.util.find_spec("pytest") is None) or parts[-1] == "__main__":
                continue
            module = importlib.import_module(name)
            missing = [each for each in getattr(module, "__all__", ()) if not hasattr(module, each)]
            self.assertEqual(missing, [], name)


class MetadataTests(unittest.TestCase):
    """setup.cfg and pyproject.toml."""

    def test_dependencies_are_none(self) -> None:
        """The package needs nothing at run time."""
        self.assertNotIn("install_requires", setup_cfg()["options"])

    def test_typing_marker_and_data_files_are_packaged(self) -> None:
        """Each file of the package that is no module is covered by a pattern of package_data."""
        patterns = setup_cfg()["options.package_data"]["tcpclient_testing"].split()
        self.assertIn("py.typed", patterns)
        files = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*") if path.is_file()]
        data = [name for name in files if not name.endswith((".py", ".pyc"))]
        self.assertEqual([name for name in data if not any(fnmatch.fnmatch(name, each) for each in patterns)], [])

    def test_plugin_is_declared_when_it_exists(self) -> None:
        """The entry point for pytest and its module come together: pytest would import a missing one everywhere."""
        declared = setup_cfg().get("options.entry_points", "pytest11", fallback="").strip()
        exists = (PACKAGE / "pytest_plugin" / "__init__.py").exists()
        self.assertEqual(declared, "tcpclient_testing = tcpclient_testing.pytest_plugin" if exists else "")

    def test_supported_versions_are_tested(self) -> None:
        """The lowest version named is python_requires, and the workflow runs each version that is named."""
        versions = supported_versions()
        self.assertEqual(setup_cfg()["options"]["python_requires"], f">={versions[0]}")
        workflow = ROOT / ".github" / "workflows" / "ci.yml"
        if not workflow.exists():
            self.skipTest("not a checkout: there is no workflow")
        text = workflow.read_text(encoding="utf-8")
        self.assertEqual([version for version in versions if f'"{version}"' not in text], [])

    @unittest.skipIf(sys.version_info < (3, 11), "tomllib is new in 3.11")
    def test_pyproject_is_for_the_build_system_and_tools(self) -> None:
        """pyproject.toml holds no metadata: there is one place for them."""
        import tomllib

        settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
        self.assertEqual(sorted(settings), ["build-system", "tool"])
        self.assertTrue(settings["tool"]["mypy"]["strict"])
        self.assertIn("error", settings["tool"]["pytest"]["ini_options"]["filterwarnings"])


class RepositoryTests(unittest.TestCase):
    """What lies where."""

    @unittest.skipUnless((ROOT / ".git").exists() and shutil.which("git"), "needs git and a checkout")
    def test_top_level_holds_nothing_else(self) -> None:
        """At the top level git knows the six names, and beside them only what begins with a dot."""
        # Under a hook, git's variables would point at another repository.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
        listed = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, timeout=60, check=False)
        if listed.returncode:
            self.skipTest("git refuses to list this checkout")
        names = {line.split("/")[0] for line in listed.stdout.decode().splitlines()}
        self.assertEqual({name for name in names if not name.startswith((".", '"'))}, TOP_LEVEL)

    @unittest.skipUnless(os.name == "posix", "modes are POSIX's")
    def test_gate_can_be_run(self) -> None:
        """.ci/run is executable."""
        self.assertTrue(os.access(ROOT / ".ci" / "run", os.X_OK))

    def test_every_folder_of_tests_is_found(self) -> None:
        """Each folder that holds tests is a package all the way up: unittest's discovery passes by any other."""
        folders = {parent for path in (ROOT / "tests").rglob("test_*.py") for parent in path.parents}
        below = [folder for folder in folders if ROOT / "tests" in (folder, *folder.parents)]
        missing = [str(folder.relative_to(ROOT)) for folder in below if not (folder / "__init__.py").exists()]
        self.assertEqual(missing, [])

    def test_names_shadow_no_standard_module(self) -> None:
        """No folder is called as a module of the standard library: discovery could put it first on the path."""
        # Named by hand for 3.9, which has no sys.stdlib_module_names; these are the tempting ones.
        standard = getattr(sys, "stdlib_module_names", {"asyncio", "typing", "ssl", "socket", "unittest", "threading"})
        folders = [path for top in (PACKAGE, ROOT / "tests") for path in top.rglob("*") if path.is_dir()]
        self.assertEqual([str(path.relative_to(ROOT)) for path in folders if path.name in standard], [])

    @lasting
    def test_every_test_says_what_it_shows(self) -> None:
        """Each test method has a docstring."""
        self.assertEqual(list(undocumented_tests()), [])


if __name__ == "__main__":
    unittest.main()
