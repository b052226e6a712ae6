"""Who imports what: declared distributions, folders those below, tests of users public names."""

import ast
import re
import sys
import tomllib
from pathlib import Path

from commands import ROOT

# Imported under a name that is not the distribution's.
DISTRIBUTIONS = {
    "backports": "backports.zstd",
    "markdown_it": "markdown-it-py",
    "sklearn": "scikit-learn",
    "yaml": "PyYAML",
}
# From the bottom up: a file imports from lines above its own, and from its own folder.
FLOORS = [
    {"errors"},
    {"files", "hub", "hub_names", "log", "model", "settings_text"},
    {"settings", "state_files"},
    {"data", "pages", "scoring"},
    {"taxonomy"},
    {"config"},
    {"loading"},
    {"tasks", "vectors"},
    {"checking"},
    {"prediction", "reporting"},
    {"publishing"},
    {"training"},
    {"cli"},
    {"extend", "registration"},
    {"__init__", "__main__"},
]
# The command of 0.1.0, which nothing imports.
FORMER = "publishing/__main__.py"
PUBLIC = {"hierbert", "hierbert.extend", "hierbert.__main__"}


def names(requirements: list[str]) -> set[str]:
    """Distributions of a list of requirements, spelt alike."""
    found = (re.match(r"[\w.-]+", line) for line in requirements if not line.startswith("#"))
    return {match[0].lower().replace("_", "-") for match in found if match}


def modules(path: Path) -> set[str]:
    """What a file imports, wherever in it, by whole names."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module))
    return found


def imported() -> set[str]:
    """Distributions that some file of the package imports."""
    every = set().union(*map(modules, (ROOT / "hierbert").rglob("*.py")))
    tops = {module.partition(".")[0] for module in every} - {*sys.stdlib_module_names, "hierbert"}
    return names([DISTRIBUTIONS.get(module, module) for module in tops])


def test_imports_and_declared_dependencies_are_the_same() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    always = names(project["dependencies"])
    extras = set().union(*map(names, project["optional-dependencies"].values()))
    assert always - imported() == set()
    assert imported() - always <= extras


def test_the_requirements_of_the_clone_hold_the_package_s() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    clone = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert names(project["dependencies"]) <= names(clone)


def test_files_import_from_below_alone() -> None:
    floor_of = {name: floor for floor, names in enumerate(FLOORS) for name in names}
    package = ROOT / "hierbert"
    for path in package.rglob("*.py"):
        own = path.relative_to(package).parts[0].removesuffix(".py")
        for module in modules(path):
            if module.startswith("hierbert.") and str(path.relative_to(package)) != FORMER:
                other = module.split(".")[1]
                assert other == own or floor_of[other] < floor_of[own], f"{path} imports {module}"


def test_the_code_that_travels_imports_what_a_stranger_has() -> None:
    allowed = {"torch", "transformers", "huggingface_hub", *sys.stdlib_module_names} - {
        "__future__"
    }
    for path in (ROOT / "hierbert" / "model").glob("*.py"):
        assert {module.partition(".")[0] for module in modules(path)} <= allowed, path
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                # transformers finds `from .sibling import name` alone.
                assert node.level == 1 and node.module and "." not in node.module, path


def test_a_move_inside_the_package_breaks_no_test_of_what_users_see() -> None:
    shared = [*(ROOT / "tests" / "support").glob("*.py"), ROOT / "tests" / "conftest.py"]
    by_name = {path.stem: path for path in shared}
    waiting = [p for layer in ("contract", "stress") for p in (ROOT / "tests" / layer).glob("*.py")]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        found = modules(path)
        inner = {name for name in found if name.startswith("hierbert")} - PUBLIC
        assert not inner, f"{path} imports {inner}"
        more = {by_name[name] for name in found & by_name.keys()} - seen
        seen |= more
        waiting += more
