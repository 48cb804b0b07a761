"""`evenfall new` writes a plugin project that installs, passes its own tests, and is typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evenfall.cli.app import app
from evenfall.cli.new import make_project

NAME = "leaky-thing"
MYPY = """
[mypy]
strict = true
disallow_subclassing_any = false
warn_return_any = false
cache_dir = {cache}
[mypy-torch.*]
follow_imports = skip
"""


def call(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_project(f"evenfall-{NAME}", tmp_path_factory.mktemp("new") / "project")


def test_a_project_has_a_package_and_tests(project: Path) -> None:
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    package = "src/evenfall_leaky_thing"
    modules = ("__init__", "cli", "contract", "layer", "matmul", "operation", "plugin", "reference")
    assert files == {
        ".gitignore", "README.md", "pyproject.toml", f"{package}/py.typed",
        *(f"{package}/{name}.py" for name in modules),
        *(f"tests/test_{name}.py" for name in ("kernels", "layer", "plugin")),
    }  # fmt: skip
    texts = {path: (project / path).read_text(encoding="utf-8") for path in files}
    assert [path for path, text in texts.items() if re.search("@[A-Z]+@", text)] == []


@pytest.mark.slow
def test_it_installs_and_passes_its_own_tests(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("hatchling")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--no-compile")
    call("pip", "install", *options, "--target", tmp_path / "site", project, cwd=tmp_path)
    path = os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])
    output = call(
        "pytest", "-q", "-p", "no:cacheprovider", cwd=project,
        PYTHONPATH=path, EVENFALL_PLUGINS=NAME,
    )  # fmt: skip
    assert "47 passed, 6 skipped" in output  # it has no torch.library operator to check


@pytest.mark.slow
def test_it_is_typed_and_formatted(project: Path, tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    pytest.importorskip("ruff")
    call("ruff", "check", "--no-cache", ".", cwd=project)
    call("ruff", "format", "--no-cache", "--check", ".", cwd=project)
    (tmp_path / "mypy.ini").write_text(MYPY.format(cache=tmp_path / "cache"))
    core = Path(__file__).parents[2] / "core" / "src"
    output = call(
        "mypy", "--config-file", tmp_path / "mypy.ini", "src", cwd=project, MYPYPATH=str(core)
    )
    assert "no issues found in 8 source files" in output


@pytest.mark.parametrize(
    "name", ["", "Leaky", "leaky_thing", "3d", "-leaky", "a b", "../a", "a" * 61]
)
def test_a_malformed_name_is_refused(world, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="name must be lower-case words with hyphens"):
        make_project(name, tmp_path / "project")
    assert not (tmp_path / "project").exists()


def test_a_name_that_is_taken_is_refused(world, tmp_path: Path) -> None:
    world.install("theirs", "")
    for name in ("egru", "evenfall-mamba", "doctor", "theirs"):
        with pytest.raises(ValueError, match="is taken by a plugin or command"):
            make_project(name, tmp_path / "project")


def test_the_command_says_what_comes_next(world, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["new", "leaky"])
    assert result.exit_code == 0, result.output
    assert "wrote evenfall-leaky; next:" in result.output
    assert "evenfall plugins --check leaky" in result.output
    assert (tmp_path / "evenfall-leaky" / "src" / "evenfall_leaky" / "plugin.py").is_file()
    again = CliRunner().invoke(app, ["new", "leaky"])
    assert again.exit_code == 1
    assert "Error: output evenfall-leaky already exists" in again.output


@pytest.mark.parametrize("name", ["none", "true", "class", "value-error", "tensor"])
def test_a_word_of_python_is_refused(world, tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"name '{name}' is a word of Python or PyTorch"):
        make_project(name, tmp_path / "new")
    assert not list(tmp_path.glob("new"))


def test_nobody_takes_the_name_of_core(world, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name 'core' is taken"):
        make_project("core", tmp_path / "new")
