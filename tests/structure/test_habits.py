"""Continuous integration, the Makefile and CONTRIBUTING.md agree with the tree."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
WORKFLOWS = {
    path.stem: path.read_text(encoding="utf-8")
    for path in (REPOSITORY / ".github" / "workflows").glob("*.yml")
}


def test_every_supported_python_is_tested() -> None:
    jobs = yaml.safe_load(WORKFLOWS["tests"])["jobs"]
    tested = jobs["tests"]["strategy"]["matrix"]["python"]
    promised = [
        line.rpartition(" ")[2]
        for line in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", line)
    ]
    assert tested == promised
    assert f">={promised[0]}" == PROJECT["project"]["requires-python"]


def test_the_longest_test_files_exist() -> None:
    conftest = (REPOSITORY / "tests" / "conftest.py").read_text(encoding="utf-8")
    listed = re.search(r"LONGEST = \((.*?)\)", conftest, re.DOTALL)
    assert listed is not None
    names = re.findall(r'"(\S+)"', listed[1])
    assert len(names) >= 5
    assert [name for name in names if not (REPOSITORY / "tests" / name).is_file()] == []


def test_workflows_call_what_a_developer_types() -> None:
    commands = re.findall(r"- run: (.+)", WORKFLOWS["tests"] + WORKFLOWS["docs"])
    assert commands == [".ci/run", "make coverage", "make docs"]
    assert (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8").endswith("\nmake test\n")


def test_contributing_describes_targets_that_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
    text = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `make ([a-z]+)` \|", text, re.MULTILINE))
    assert named == targets - {"lint"}


def test_quick_tests_exist() -> None:
    """If a pattern matched nothing, `make check` would silently skip these tests."""
    found = re.search(r"^FAST := \$\(wildcard (.+?)\)$", MAKEFILE, re.MULTILINE | re.DOTALL)
    assert found is not None
    for pattern in found[1].replace("\\\n", " ").split():
        assert list(REPOSITORY.glob(pattern)), f"{pattern} in FAST of the Makefile matches nothing"


def test_ruff_reads_every_source() -> None:
    """A folder name in `extend-exclude` without a slash excludes every folder of that name."""
    if not (REPOSITORY / ".git").exists():
        pytest.skip("not a git checkout")
    pytest.importorskip("ruff")
    tracked = _lines("git", "ls-files", "*.py")
    paths = _lines(sys.executable, "-m", "ruff", "check", "--show-files")
    assert sorted({*tracked} - {str(Path(path).relative_to(REPOSITORY)) for path in paths}) == []


def _lines(*command: str) -> list[str]:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=3600,
    )
    return done.stdout.splitlines()


def test_coverage_leaves_out_machine_code() -> None:
    (pattern,) = PROJECT["tool"]["coverage"]["report"]["exclude_also"]
    for line in ("@njit(nogil=True)", "@compiled(fastmath=FAST)", "    @intrinsic", "@triton.jit"):
        assert re.search(pattern, line), line
    assert not re.search(pattern, "@triton.jit_free")
    assert not re.search(pattern, "def compiled(**options):")
