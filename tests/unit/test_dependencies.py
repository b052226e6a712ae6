"""What the package imports is declared, and what is declared is imported."""

import ast
import re
import sys
import tomllib

from commands import ROOT

# Imported under a name that is not the distribution's.
DISTRIBUTIONS = {"sklearn": "scikit-learn", "yaml": "PyYAML"}


def names(requirements: list[str]) -> set[str]:
    """Distributions of a list of requirements, spelt alike."""
    found = (re.match(r"[\w.-]+", line) for line in requirements if not line.startswith("#"))
    return {match[0].lower().replace("_", "-") for match in found if match}


def imported() -> set[str]:
    """Distributions that some file of the package imports."""
    modules: set[str] = set()
    for path in (ROOT / "hierbert").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules.update(alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and not node.level:
                modules.add(str(node.module).partition(".")[0])
    modules -= {*sys.stdlib_module_names, "hierbert"}
    return names([DISTRIBUTIONS.get(module, module) for module in modules])


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
