"""egru_scan with tracers and torch.func: one operator, the unrolled reference, or an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.autograd.forward_ad as forward_ad
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from evenfall import use_backend
from evenfall.errors import BackendError
from evenfall_kernels import egru_scan
from evenfall_kernels.ops.egru_scan.op import egru_scan_op

_random = torch.Generator().manual_seed(0)
_SHAPES = {
    "kernel": (5, 51), "recurrent_kernel": (17, 51), "bias": (51,), "recurrent_bias": (51,),
    "threshold": (17,),
}  # fmt: skip
INPUTS: dict[str, Any] = {
    name: torch.randn(shape, generator=_random) / 4 for name, shape in _SHAPES.items()
}
INPUTS["threshold"] = INPUTS["threshold"].abs()
INPUTS["initial_state"] = tuple(torch.randn(2, 17, generator=_random) for _ in range(2))
X = torch.randn(2, 7, 5, generator=_random)


def _scan(x: Tensor, **options: Any) -> Tensor:
    inputs = {**INPUTS, **options}
    if x.is_meta:
        inputs = {k: tuple(s.to("meta") for s in v) if isinstance(v, tuple) else v.to("meta")
                 for k, v in inputs.items()}  # fmt: skip
    return egru_scan(x, **inputs).y


def _forward_mode(function: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent


def _jvp(function: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    return torch.func.jvp(function, (x,), (tangent,))[1]


@pytest.mark.parametrize("apply", [_forward_mode, _jvp])
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_forward_mode_is_the_transpose_of_reverse_mode(apply: Any, variant: str) -> None:
    """Finite differences cannot test a surrogate derivative."""
    x, tangent, weight = X.clone().requires_grad_(), torch.randn(X.shape), torch.randn(2, 7, 17)
    with use_backend("reference"):
        got = apply(lambda x: _scan(x, variant=variant), X, tangent)
        (grad,) = torch.autograd.grad((_scan(x, variant=variant) * weight).sum(), x)
    torch.testing.assert_close((got * weight).sum(), (grad * tangent).sum())


def test_vmap_and_grad_of_the_reference() -> None:
    many = torch.stack([X, 2 * X])
    with use_backend("reference"):
        torch.testing.assert_close(torch.func.vmap(_scan)(many), torch.stack([*map(_scan, many)]))
        got = torch.func.grad(lambda x: _scan(x).sum())(X)
        x = X.clone().requires_grad_()
        torch.testing.assert_close(got, torch.autograd.grad(_scan(x).sum(), x)[0])


@pytest.mark.parametrize(
    "transform",
    [
        lambda f: _forward_mode(f, X, X),
        lambda f: _jvp(f, X, X),
        lambda f: torch.func.vmap(f)(X[None]),
        lambda f: torch.func.grad(lambda x: f(x).sum())(X),
    ],
)
@pytest.mark.parametrize("grad", [True, False])
def test_fast_backends_raise_an_error(transform: Any, grad: bool) -> None:
    with (
        torch.set_grad_enabled(grad),
        pytest.raises(BackendError, match="egru_scan: backend 'cpu' does not support"),
    ):
        transform(_scan)


@pytest.mark.parametrize("name", ["recurrent_kernel", "recurrent_bias", "threshold", "kernel"])
def test_tangents_of_weights_raise_an_error(name: str) -> None:
    value = INPUTS[name]
    with pytest.raises(BackendError, match="egru_scan: backend 'cpu' does not support"):
        torch.func.jvp(lambda w: _scan(X, **{name: w}), (value,), (value,))


@pytest.mark.parametrize("grad", [True, False])
def test_a_tracer_sees_one_operator(grad: bool) -> None:
    sparse = X * (X > 1)  # the eager call skips its zeros
    with torch.set_grad_enabled(grad):
        traced = make_fx(_scan)(sparse)
        torch.testing.assert_close(traced(2 * X), _scan(2 * X))
    targets = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert targets.count(torch.ops.evenfall.egru_scan.default) == 1


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_call_recomputes(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(_scan, X, check_trace=False)
        torch.testing.assert_close(traced(2 * X), _scan(2 * X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_meta_and_fake_tensors(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        assert _scan(X.to("meta")).shape == (2, 7, 17)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert _scan(mode.from_tensor(X)).shape == (2, 7, 17)


def test_lazily_negated_tensors() -> None:
    x, threshold = (torch.complex(t, t).conj().imag for t in (X, INPUTS["threshold"]))
    assert x.is_neg()
    assert threshold.is_neg()
    want = _scan(-X, threshold=-INPUTS["threshold"])
    torch.testing.assert_close(_scan(x, threshold=threshold), want)


@pytest.mark.parametrize("sizes", [[2] * 8, [2] * 6, [3] * 4 + [2], [1, 2] + [2] * 5 + [1], [14]])
def test_batch_sizes_are_checked(sizes: list[int]) -> None:
    """A traced graph can be run with another shape: wrong sizes would write out of bounds."""
    message = (
        r"batch_sizes must be at most 2 \(sequences\), not increase, and add up to 14 \(rows\)"
    )
    with pytest.raises(ValueError, match=message):
        egru_scan_op(
            torch.zeros(14, 51), INPUTS["recurrent_kernel"], INPUTS["recurrent_bias"],
            INPUTS["threshold"], *INPUTS["initial_state"], None, 1.0, sizes, 0.7, 1.0, True, True,
            "cpu",
        )  # fmt: skip


@pytest.mark.parametrize("ends", [[0, 10**8], [-5, 14], [0, 20, 10, 14]])
def test_compiled_code_checks_cu_seqlens(ends: list[int]) -> None:
    torch._dynamo.reset()
    state = tuple(torch.zeros(len(ends) - 1, 17) for _ in range(2))
    compiled = torch.compile(_scan, backend="eager")
    with pytest.raises(ValueError, match=r"^cu_seqlens must start at 0"):
        compiled(X.reshape(1, 14, 5), cu_seqlens=torch.tensor(ends), initial_state=state)
