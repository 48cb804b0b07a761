"""gpu.py, as far as a machine without a GPU can run it, in processes of its own."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

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
    for option in ("--train-seconds", "--stream-seconds", "--interpret"):
        assert option in done.stdout


def test_without_a_gpu_one_line_and_status_2() -> None:
    done = _run()
    assert done.returncode == 2, done.stderr
    assert len(done.stdout.splitlines()) == 1 and "no CUDA GPU" in done.stdout


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
