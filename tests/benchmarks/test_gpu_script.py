"""gpu.py, as far as a machine without a GPU can run it, in processes of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).with_name("gpu.py")


def _run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_help_names_the_options() -> None:
    done = _run("--help")
    assert done.returncode == 0, done.stderr
    for option in ("--seconds", "--train-seconds", "--stream-seconds", "--interpret"):
        assert option in done.stdout


def test_without_a_gpu_one_line_and_status_2() -> None:
    done = _run()
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "no CUDA GPU" in done.stdout


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The script as a module."""
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("gpu_script", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _rows_then(*rows: dict[str, Any], error: Exception | None = None) -> Iterator[dict[str, Any]]:
    yield from rows
    if error is not None:
        raise error


def test_a_part_that_fails_keeps_its_rows_and_leaves_the_others(
    gpu: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    session, saved = gpu.Session(60, kept=True), []
    monkeypatch.setattr(session, "save", lambda: saved.append(list(session.rows)))
    session.measure("first", lambda: _rows_then({"ms": 1}, error=RuntimeError("no such kernel")))
    session.measure("second", lambda: _rows_then({"ms": 2}))
    assert saved == [[{"ms": 1}], [{"ms": 1}, {"ms": 2}]]
    assert session.broken == ["first: RuntimeError: no such kernel"]


def test_when_the_time_is_over_the_rest_is_left_out(
    gpu: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session, left = gpu.Session(60, kept=False), [9.0, 5.0, 0.0]
    monkeypatch.setattr(session, "left", lambda: left.pop(0) if left else 0.0)
    session.measure("first", lambda: _rows_then({"ms": 1}, {"ms": 2}, {"ms": 3}))
    session.measure("second", lambda: _rows_then({"ms": 4}))
    assert session.rows == [{"ms": 1}, {"ms": 2}] and session.broken == []
    shown = capsys.readouterr().out
    assert "first: cut short after 2 rows" in shown and "second: left out" in shown


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="triton is not installed")
def test_every_stage_runs_interpreted() -> None:
    saved = SCRIPT.parents[2] / "docs" / "benchmarks" / "gpu.json"
    before = saved.read_bytes() if saved.exists() else None
    done = _run("--interpret")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    passed, _, rest = next(
        line for line in done.stdout.splitlines() if "checks passed" in line
    ).partition(" of ")
    assert passed == rest.split()[0] and int(passed) > 205
    shown = done.stdout.replace("\n", "")
    for operation in ("selective_scan", "selective_state_update", "causal_conv1d"):
        assert operation in shown.partition("Mamba's kernels")[2]
    layers = shown.partition("STREAM's layer")[2]
    for name in ("StreamConv, one axis", "MambaMixer of transformers, patched"):
        assert name in layers
    assert "validation_perplexity" in shown and "test_accuracy" in shown
    assert (saved.read_bytes() if saved.exists() else None) == before
