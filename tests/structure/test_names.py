"""Names: of modules, of the folders in the pages, and of the project."""

from __future__ import annotations

import ast
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import ROOT, Distribution, Module
from .test_imports import PACKAGES

FORMER = "even" + "tide"  # the name before 0.1.0; only the changelog has it


@pytest.mark.parametrize("package", PACKAGES)
def test_no_module_bears_the_name_of_a_public_function(
    distributions: dict[str, Distribution], package: str
) -> None:
    """Otherwise `package.name` would depend on the order of imports."""
    distribution = distributions[package]
    wrong = [
        f"{module.name}.{name}"
        for module in distribution.modules.values()
        if module.is_package
        for name in _offered(distribution, module)
        if f"{module.name}.{name}" in distribution.modules
    ]
    assert wrong == []


def _offered(distribution: Distribution, package: Module) -> set[str]:
    """The public names of the package's `__init__` that are not its modules."""
    offered: set[str] = set()
    modules: set[str] = set()
    for node in _outside_functions(package.tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            offered.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                is_module = f"{package.absolute(node)}.{alias.name}" in distribution.modules
                (modules if is_module else offered).add(alias.asname or alias.name)
        elif isinstance(node, ast.Assign):
            offered |= {target.id for target in node.targets if isinstance(target, ast.Name)}
            if any(getattr(target, "id", "") == "__all__" for target in node.targets):
                offered |= set(ast.literal_eval(node.value))
    return offered - modules


def _outside_functions(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.ClassDef):
            yield from _outside_functions(child)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_and_the_picture_show_every_folder(
    distributions: dict[str, Distribution], package: str
) -> None:
    """docs/how-it-works.md names the folders of a package, and those of core its modules as well;
    docs/images/house.svg draws the folders."""
    page = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")
    picture = (ROOT / "docs" / "images" / "house.svg").read_text(encoding="utf-8")
    inside = [m for m in distributions[package].modules.values() if m.name.count(".") == 1]
    folders = {f"{m.name.rpartition('.')[2]}/" for m in inside if m.is_package}
    files = {f"{m.name.rpartition('.')[2]}.py" for m in inside if not m.is_package}
    files -= {"__main__.py", "version.py"}
    assert [name for name in sorted(folders) if name not in picture] == []
    shown = folders | (files if package == "evenfall" else set())
    assert [name for name in sorted(shown) if name not in page] == []


def test_the_former_name_is_gone() -> None:
    """In no tracked file, nor in the name of one."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(
        ["git", "ls-files", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    ).stdout
    files = [name for name in listed.split("\0") if name and name != "CHANGELOG.md"]
    wrong = [name for name in files if FORMER in name.casefold() or _tells(ROOT / name)]
    assert wrong == []


def _tells(path: Path) -> bool:
    return path.is_file() and FORMER.encode() in path.read_bytes().lower()
