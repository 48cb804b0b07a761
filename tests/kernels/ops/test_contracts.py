"""Every operation has a contract that its backends fulfil, and an example that they agree on."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

import evenfall
from evenfall import backends, registry
from evenfall_kernels import plugin

OPERATIONS = sorted(plugin._OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_backends_fulfil_the_contract_and_agree_on_the_example(operation: str) -> None:
    example = registry.operations.get(operation).example
    with evenfall.use_backend("reference", operation):
        want = example("cpu", torch.float64)
    fast = [one for one in backends.candidates(operation) if one.backend != "reference"]
    for kernel in fast:
        if kernel.problem() is not None:  # it cannot be imported; a broken contract can
            assert "cannot import" in kernel.problem()
        elif kernel.fits("cpu", "float32"):
            with evenfall.use_backend(kernel.backend, operation):
                got = example("cpu", torch.float32)
            for one, other in zip(got, want, strict=True):
                torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=1e-5)
    assert [one.backend for one in fast if one.breaks_contract()] == []


def test_operations_are_those_with_backends() -> None:
    mine = {e.name for e in registry.operations.entries() if e.owner.name == "kernels"}
    assert mine == {name for name in backends.operations() if name in OPERATIONS} == {*OPERATIONS}


SCRIPT = """
import warnings, torch
from evenfall import registry
with warnings.catch_warnings(record=True) as record:
    warnings.simplefilter("always")
    for name in registry.operations:
        registry.operations.get(name).example("cpu", torch.float32)
for one in record:
    print(one.category.__name__, one.message)
"""


def test_without_numba_s_compiler_references_run_with_one_warning() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1", "EVENFALL_PLUGINS": "kernels"},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert line.startswith("BackendWarning causal_conv1d on cpu float32 uses the slow backend")
    assert "NUMBA_DISABLE_JIT turns Numba's compiler off; unset it" in line
    assert line.endswith("Other operations may be slow for this reason, too.")
