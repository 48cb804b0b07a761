"""egru_scan under tracers and transforms: seen whole, unrolled or refused, never wrong."""

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
GIVEN: dict[str, Any] = {
    name: torch.randn(shape, generator=_random) / 4 for name, shape in _SHAPES.items()
}
GIVEN["threshold"] = GIVEN["threshold"].abs()
GIVEN["initial_state"] = tuple(torch.randn(2, 17, generator=_random) for _ in range(2))
X = torch.randn(2, 7, 5, generator=_random)


def _scan(x: Tensor, **options: Any) -> Tensor:
    given = {**GIVEN, **options}
    if x.is_meta:
        given = {k: tuple(s.to("meta") for s in v) if isinstance(v, tuple) else v.to("meta")
                 for k, v in given.items()}  # fmt: skip
    return egru_scan(x, **given).y


def _forward_mode(function: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    with forward_ad.dual_level():
        return forward_ad.unpack_dual(function(forward_ad.make_dual(x, tangent))).tangent


def _jvp(function: Callable[[Tensor], Tensor], x: Tensor, tangent: Tensor) -> Tensor:
    return torch.func.jvp(function, (x,), (tangent,))[1]


@pytest.mark.parametrize("apply", [_forward_mode, _jvp])
@pytest.mark.parametrize("variant", ["released", "paper"])
def test_forward_mode_is_the_transpose_of_reverse_mode(apply: Any, variant: str) -> None:
    """Finite differences do not know the surrogate derivative."""
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
def test_fast_backends_refuse(transform: Any, grad: bool) -> None:
    with torch.set_grad_enabled(grad), pytest.raises(BackendError, match="egru_scan: the backend"):
        transform(_scan)


@pytest.mark.parametrize("name", ["recurrent_kernel", "recurrent_bias", "threshold", "kernel"])
def test_tangents_of_weights_are_refused_too(name: str) -> None:
    value = GIVEN[name]
    with pytest.raises(BackendError, match="egru_scan: the backend 'cpu'"):
        torch.func.jvp(lambda w: _scan(X, **{name: w}), (value,), (value,))


@pytest.mark.parametrize("grad", [True, False])
def test_a_tracer_sees_one_operator(grad: bool) -> None:
    sparse = X * (X > 1)  # of which the eager call multiplies the rows that fired
    with torch.set_grad_enabled(grad):
        traced = make_fx(_scan)(sparse)
        torch.testing.assert_close(traced(2 * X), _scan(2 * X))
    called = [node.target for node in traced.graph.nodes if node.op == "call_function"]
    assert called.count(torch.ops.evenfall.egru_scan.default) == 1


@pytest.mark.parametrize("grad", [True, False])
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_traced_call_computes_anew(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        traced = torch.jit.trace(_scan, X, check_trace=False)
        torch.testing.assert_close(traced(2 * X), _scan(2 * X), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grad", [True, False])
def test_shapes_alone(grad: bool) -> None:
    with torch.set_grad_enabled(grad):
        assert _scan(X.to("meta")).shape == (2, 7, 17)
        with FakeTensorMode(allow_non_fake_inputs=True) as mode:
            assert _scan(mode.from_tensor(X)).shape == (2, 7, 17)


def test_lazily_negated_tensors() -> None:
    x, threshold = (torch.complex(t, t).conj().imag for t in (X, GIVEN["threshold"]))
    assert x.is_neg() and threshold.is_neg()
    want = _scan(-X, threshold=-GIVEN["threshold"])
    torch.testing.assert_close(_scan(x, threshold=threshold), want)


@pytest.mark.parametrize("sizes", [[2] * 8, [2] * 6, [3] * 4 + [2], [1, 2] + [2] * 5 + [1], [14]])
def test_recorded_sizes_must_fit_the_rows(sizes: list[int]) -> None:
    """A graph recorded with one shape can be run with another: the loops write by the sizes."""
    with pytest.raises(ValueError, match="batch_sizes must never rise"):
        egru_scan_op(
            torch.zeros(14, 51), GIVEN["recurrent_kernel"], GIVEN["recurrent_bias"],
            GIVEN["threshold"], *GIVEN["initial_state"], None, 1.0, sizes, 0.7, 1.0, True, True,
            "cpu",
        )  # fmt: skip


@pytest.mark.parametrize("ends", [[0, 10**8], [-5, 14], [0, 20, 10, 14]])
def test_compiled_code_does_not_trust_cu_seqlens(ends: list[int]) -> None:
    torch._dynamo.reset()
    state = tuple(torch.zeros(len(ends) - 1, 17) for _ in range(2))
    compiled = torch.compile(_scan, backend="eager")
    with pytest.raises(ValueError, match="^cu_seqlens must start at 0"):
        compiled(X.reshape(1, 14, 5), cu_seqlens=torch.tensor(ends), initial_state=state)
