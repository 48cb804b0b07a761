"""gpu.py, as far as a machine without a GPU can run it, in processes of its own."""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

SCRIPT = Path(__file__).with_name("gpu.py")
REPOSITORY = SCRIPT.parents[2]


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=3600,
    )


def test_help_names_the_options() -> None:
    done = _run("--help")
    assert done.returncode == 0, done.stderr
    for option in ("--seconds", "--train-seconds", "--stream-seconds", "--dry-run"):
        assert option in done.stdout


def test_without_a_gpu_one_line_and_status_2() -> None:
    done = _run()
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "no CUDA GPU" in done.stdout


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    return importlib.import_module("gpu")


@pytest.fixture
def checks(gpu: Any) -> Any:
    return importlib.import_module("gpu_parts.checks")


def _rows_then(*rows: dict[str, Any], error: Exception | None = None) -> Iterator[dict[str, Any]]:
    yield from rows
    if error is not None:
        raise error


def test_a_part_that_fails_keeps_its_rows_and_leaves_the_others(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, saved = gpu.Session(60, saves=True), []
    monkeypatch.setattr(session, "save", lambda: saved.append(list(session.rows)))
    session.run("first", lambda: _rows_then({"ms": 1}, error=RuntimeError("no such kernel")))
    session.run("second", lambda: _rows_then({"ms": 2}))
    assert saved == [[{"ms": 1}], [{"ms": 1}], [{"ms": 1}, {"ms": 2}]], "a row, a failure, a row"
    assert session.broken == ["first: RuntimeError: no such kernel"]


def test_when_the_time_is_over_the_rest_is_left_out(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, left = gpu.Session(60, saves=False), [9.0, 5.0, 0.0]
    monkeypatch.setattr(session, "left", lambda: left.pop(0) if left else 0.0)
    session.run("first", lambda: _rows_then({"ms": 1}, {"ms": 2}, {"ms": 3}))
    session.run("second", lambda: _rows_then({"ms": 4}))
    assert session.rows == [{"ms": 1}, {"ms": 2}]
    assert session.broken == []
    shown = capsys.readouterr().out
    assert "first: cut short after 2 rows" in shown
    assert "second: left out" in shown


def test_a_failed_check_is_named_and_counts(
    gpu: Any, checks: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"part": "checks", "file": "tests/a.py", "passed": 2, "failed": 1, "skipped": 0}
    monkeypatch.setattr(checks, "check", lambda left, dry: iter([row | {"failures": ["odd: no"]}]))
    session = gpu.Session(60, saves=False)
    gpu.check(session, dry=True)
    assert session.broken == ["tests/a.py: odd: no"]
    assert "2 of 3 checks passed" in capsys.readouterr().out


def test_every_kernel_and_stream_are_checked(checks: Any) -> None:
    found = {path.as_posix() for path in checks.gpu_tests()}
    operations = REPOSITORY / "kernels" / "src" / "evenfall_kernels" / "ops"
    names = [path.parent.name for path in operations.glob("*/triton.py")]
    wanted = {f"tests/kernels/gpu/test_{name}.py" for name in names}
    assert len(names) >= 5
    assert found >= wanted | {"tests/plugins/stream/test_on_gpu.py"}


@pytest.fixture
def pytest_file(checks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of tests of which one passes, one fails, one is skipped and one is not marked gpu."""
    monkeypatch.setattr(checks, "REPOSITORY", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu\n", encoding="utf-8")
    path = tmp_path / "test_some.py"
    path.write_text(
        "import pytest\n"
        "@pytest.mark.gpu\ndef test_one(): pass\n"
        "@pytest.mark.gpu\ndef test_two(): assert 1 == 2\n"
        "@pytest.mark.gpu\ndef test_three(): pytest.skip('no such card')\n"
        "def test_four(): assert False\n",
        encoding="utf-8",
    )
    return Path(path.name)


def test_a_file_is_counted_by_its_outcomes(checks: Any, pytest_file: Path) -> None:
    row = checks._run([pytest_file], lambda: 3600.0, False, [])
    assert (row["passed"], row["failed"], row["skipped"]) == (1, 1, 1)
    (failure,) = row["failures"]
    assert failure.startswith("test_two: assert 1 == 2")


def test_checks_that_do_not_end_or_do_not_run_have_failed(
    checks: Any, pytest_file: Path, tmp_path: Path
) -> None:
    assert checks._run([pytest_file], lambda: 0.0, False, [])["failures"] == ["the time is over"]
    (tmp_path / "test_none.py").write_text("def test(): pass\n", encoding="utf-8")
    none = checks._run([Path("test_none.py")], lambda: 3600.0, False, [])
    assert none["passed"] == 0
    assert none["failures"] == ["test_none.py: no test ran"]
    both = checks._run([Path("test_none.py"), pytest_file], lambda: 3600.0, False, [])
    assert (both["passed"], both["failed"], both["skipped"]) == (1, 1, 1)
    assert both["failures"][1:] == ["test_none.py: no test ran"]
    crashed = checks.outcome(tmp_path / "absent.xml", "a\nsegfault", [pytest_file], False)
    assert crashed["failures"] == ["no report: a segfault"]


def test_a_dry_run_takes_two_cases_of_each_test(
    checks: Any, pytest_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "test_many.py").write_text(
        "import pytest\n"
        "@pytest.mark.gpu\n@pytest.mark.parametrize('i', range(5))\ndef test_five(i): pass\n"
        "@pytest.mark.gpu\ndef test_one(): pass\n",
        encoding="utf-8",
    )
    assert checks._run([Path("test_many.py")], lambda: 3600.0, True, [])["passed"] == 3
    assert checks._run([Path("test_many.py")], lambda: 3600.0, False, [])["passed"] == 6


def test_pytest_comes_from_its_wheels_where_it_is_not_installed(
    checks: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks.pytest_path(tmp_path) == []
    monkeypatch.setattr(checks.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(checks, "WHEELS", tmp_path / "wheels")
    with pytest.raises(ModuleNotFoundError, match="fetch its wheels with `pip download"):
        checks.pytest_path(tmp_path)
    (tmp_path / "wheels").mkdir()
    with ZipFile(tmp_path / "wheels" / "pytest-0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("pytest/__init__.py", "found = True\n")
    assert checks.pytest_path(tmp_path / "unpacked") == [str(tmp_path / "unpacked")]
    assert (tmp_path / "unpacked" / "pytest" / "__init__.py").read_text() == "found = True\n"


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_every_stage_runs_dry(checks: Any) -> None:
    records = REPOSITORY / "docs" / "benchmarks"
    before = {path: path.read_bytes() for path in records.rglob("*.json")}
    done = _run("--dry-run")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed, _, rest = next(
        line for line in done.stdout.splitlines() if "checks passed" in line
    ).partition(" of ")
    assert passed == rest.split()[0]
    # A file that contributes no test has failed; of some all tests are skipped without a GPU.
    assert int(passed) > 2 * len(checks.gpu_tests())
    shown = done.stdout.replace("\n", "")
    for operation in ("selective_scan", "selective_state_update", "causal_conv1d"):
        assert operation in shown.partition("Mamba's kernels")[2]
    layers = shown.partition("STREAM's layer")[2]
    for name in ("StreamConv, one axis", "MambaMixer of transformers, patched"):
        assert name in layers
    assert "validation_perplexity" in shown
    assert "test_accuracy" in shown
    assert {path: path.read_bytes() for path in records.rglob("*.json")} == before
