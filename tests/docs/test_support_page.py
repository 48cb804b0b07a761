"""The page of supported versions states what the packages require and what the tests run with."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
ROWS = {
    cells[0]: cells[1:3]
    for line in (ROOT / "docs" / "support.md").read_text(encoding="utf-8").splitlines()
    if line.startswith("| ") and len(cells := [one.strip() for one in line.split("|")[1:-1]]) == 4
    if cells[0] and not cells[0].startswith("-")
}
PROJECTS = [
    tomllib.loads(file.read_text(encoding="utf-8"))["project"]
    for pattern in ("core", "kernels", "plugins/*")
    for file in ROOT.glob(f"{pattern}/pyproject.toml")
]


def lowest(name: str) -> str:
    """The highest of the lowest versions that the packages accept."""
    lines = [
        line
        for project in PROJECTS
        for group in (project["dependencies"], *project.get("optional-dependencies", {}).values())
        for line in group
    ]
    versions = [
        specifier.version
        for need in map(Requirement, lines)
        if canonicalize_name(need.name) == name
        for specifier in need.specifier
        if specifier.operator == ">="
    ]
    return max(versions, key=Version)


def newest(name: str) -> str:
    """The version in constraints.txt."""
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        pinned, _, version = line.partition("==")
        if version and canonicalize_name(pinned) == name:
            return version
    raise LookupError(name)


def test_the_hosts_are_in_the_table() -> None:
    assert {"torch", "transformers", "torch-geometric", "timm", "huggingface-hub"} < set(ROWS)


@pytest.mark.parametrize("name", sorted(set(ROWS) - {"Python"}))
def test_the_versions_are_those_that_are_required_and_pinned(name: str) -> None:
    assert ROWS[name] == [lowest(name), newest(name)]


def test_python_is_that_of_the_packages_and_of_the_workflow() -> None:
    assert {project["requires-python"] for project in PROJECTS} == {f">={ROWS['Python'][0]}"}
    workflow = (ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8")
    tested = re.findall(r"3\.\d+", workflow)
    assert max(tested, key=Version) == ROWS["Python"][1]
