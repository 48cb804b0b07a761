"""Imports of the operations, and how a backend is imported."""

from __future__ import annotations

import ast
from pathlib import Path
from types import ModuleType

import pytest

import evenfall_kernels.ops

FOLDER = Path(evenfall_kernels.ops.__file__).parent
OPERATIONS = sorted(folder.parent.name for folder in FOLDER.glob("*/reference.py"))


def test_the_package_of_operations_is_empty() -> None:
    assert (FOLDER / "__init__.py").read_text() == ""
    assert len(OPERATIONS) == 8


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_backend_is_imported_by_its_path(operation: str) -> None:
    """The public function has the name of its folder and must not hide the folder."""
    names: dict[str, object] = {}
    exec(f"import evenfall_kernels.ops.{operation}.cpu as cpu", names)
    exec(f"from evenfall_kernels import {operation}", names)
    assert isinstance(names["cpu"], ModuleType)
    assert callable(names[operation])


def _imports(file: Path) -> set[str]:
    modules: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add("." * node.level + str(node.module or "").partition(".")[0])
    return modules - {"__future__", "dataclasses", "typing"}


@pytest.mark.parametrize(
    ("name", "siblings"),
    [
        ("__init__", {".checks", ".reference", ".run"}),
        ("checks", set()),
        ("packing", set()),
        ("reference", set()),
    ],
)
def test_files_of_published_models_need_torch_alone(name: str, siblings: set[str]) -> None:
    """A published folder contains these files and its own run.py."""
    assert _imports(FOLDER / "egru_scan" / f"{name}.py") == {"torch", *siblings}
