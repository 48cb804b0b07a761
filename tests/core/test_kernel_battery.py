"""The kernel battery: each test finds its kind of fault."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from evenfall.testing.kernels import KernelBattery
from evenfall.testing.memory import poisoned_memory

MODULE = """
import torch

class _Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 3

CALLS = []

def reference(x):
    return x * 2

def forward(x):
    return x * 2.01

def gradient(x):
    return _Wrong.apply(x)

def no_gradient(x):
    return x.detach() * 2

def modifies(x):
    out = x * 2
    x.detach().add_(1)
    return out

def random(x):
    CALLS.append(1)
    return x * 2 + 1e-6 * len(CALLS)

def contiguous(x):
    return x.as_strided(x.shape, (x.shape[1], 1)) * 2

def unwritten(x):
    return x * 2 + torch.empty(x.shape) * 0

def empty(x):
    return x * 2 + 0 * x.detach().max()
"""

BACKENDS = (
    "forward",
    "gradient",
    "no_gradient",
    "modifies",
    "random",
    "contiguous",
    "unwritten",
    "empty",
)

HOOK = f"""
    @hookimpl
    def evenfall_register_kernels(register):
        for name in ("reference", "absent", *{BACKENDS}):
            register("double", name, f"site_double:{{name}}", dtypes=("float32", "float64"))
"""

FAULTS = [
    ("test_forward_equals_reference", "forward", "output 0"),
    ("test_gradients_equal_reference", "gradient", "gradient of x: relative error 5.0"),
    ("test_gradients_equal_reference", "no_gradient", "gradient of x: relative error 1.0"),
    ("test_inputs_are_not_modified", "modifies", "not equal"),
    ("test_results_are_deterministic", "random", "not equal"),
    ("test_strided_inputs_work", "contiguous", "output 0"),
    ("test_poisoned_memory_does_not_show", "unwritten", "output 0"),
]


def make(dtype: Any, device: str) -> dict[str, Any]:
    values = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    return {"x": values.to(device, dtype)}


def make_empty(dtype: Any, device: str) -> dict[str, Any]:
    return {"x": torch.zeros(3, 0, dtype=dtype, device=device)}


class Double(KernelBattery):
    operation = "double"
    backends = BACKENDS

    def cases(self):
        return {"small": make}

    def empty_cases(self):
        return {"none": make_empty}


@pytest.fixture(autouse=True)
def _double(world) -> None:
    world.write_module("site_double", MODULE)
    world.install("doubles", HOOK)


@pytest.mark.parametrize(("test", "backend", "words"), FAULTS)
def test_fault_is_found(test: str, backend: str, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        getattr(Double(), test)(backend, "cpu", "float32", make)


@pytest.mark.parametrize("test", sorted({test for test, _, _ in FAULTS}))
def test_faultless_kernel_passes(test: str) -> None:
    getattr(Double(), test)("reference", "cpu", "float32", make)


def test_empty_inputs() -> None:
    Double().test_empty_inputs_work("reference", "cpu", "float32", make_empty)
    with pytest.raises(RuntimeError):
        Double().test_empty_inputs_work("empty", "cpu", "float32", make_empty)


def test_misspelt_backend_fails() -> None:
    with pytest.raises(pytest.fail.Exception, match="no backend 'refrence'"):
        Double().test_forward_equals_reference("refrence", "cpu", "float32", make)


@pytest.mark.parametrize(
    ("backend", "dtype", "reason"),
    [("absent", "float32", "site_double:absent"), ("forward", "float16", "does not serve")],
)
def test_case_that_cannot_run_is_skipped_with_the_reason(
    backend: str, dtype: str, reason: str
) -> None:
    with pytest.raises(pytest.skip.Exception, match=reason):
        Double().test_forward_equals_reference(backend, "cpu", dtype, make)


def test_cases_must_be_defined() -> None:
    with pytest.raises(NotImplementedError, match="KernelBattery must define cases"):
        KernelBattery().cases()


def test_opcheck_runs_the_operator() -> None:
    @torch.library.custom_op("evenfall_test::double", mutates_args=())
    def double(x: torch.Tensor) -> torch.Tensor:
        return x * 2

    class WithOp(Double):
        backends = ("reference",)
        op = "evenfall_test::double"

    with pytest.raises(Exception, match=r"fake|Fake|meta"):
        WithOp().test_opcheck("cpu", "float32", make)
    double.register_fake(torch.empty_like)
    double.register_autograd(lambda ctx, grad: grad * 2)
    WithOp().test_opcheck("cpu", "float32", make)
    with pytest.raises(pytest.skip.Exception, match=r"of double sets no torch.library operator"):
        Double().test_opcheck("cpu", "float32", make)


def test_poisoned_memory_restores_the_mode() -> None:
    before = torch.get_deterministic_debug_mode()
    with poisoned_memory():
        assert bool(torch.empty(4).isnan().all())
    assert torch.get_deterministic_debug_mode() == before
