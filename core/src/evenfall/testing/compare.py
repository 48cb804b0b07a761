"""Run a kernel forward and backward, and compare the results with a reference in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Inputs = Mapping[str, Any]


@dataclass(frozen=True)
class Result:
    """The outputs of one run in order, and the gradient of each differentiable input."""

    outputs: tuple[Tensor, ...]
    gradients: dict[str, Tensor | None]


def to_reference(inputs: Inputs) -> dict[str, Any]:
    """The same inputs in float64, after rounding to the kernel's dtype: rounding is no error."""
    return {
        name: value.detach().double() if _is_floating(value) else value
        for name, value in inputs.items()
    }


def to_strided(inputs: Inputs) -> dict[str, Any]:
    """The same values in tensors whose memory has gaps: every second element of the last axis."""
    import torch

    strided: dict[str, Any] = {}
    for name, value in inputs.items():
        if _is_floating(value) and value.dim():
            spaced = torch.zeros(
                *value.shape[:-1], 2 * value.shape[-1], dtype=value.dtype, device=value.device
            )
            spaced[..., ::2] = value.detach()
            value = spaced[..., ::2]
        strided[name] = value
    return strided


def copy(inputs: Inputs) -> dict[str, Any]:
    """Deep copies of the tensors, other values as they are."""
    import torch

    return {
        name: value.detach().clone() if isinstance(value, torch.Tensor) else value
        for name, value in inputs.items()
    }


def differentiable_leaves(
    inputs: Inputs, differentiable: Callable[[str], bool] = lambda name: True
) -> dict[str, Tensor]:
    """The floating inputs that `differentiable` selects, as leaves that require a gradient."""
    return {
        name: value.detach().requires_grad_(True)
        for name, value in inputs.items()
        if _is_floating(value) and differentiable(name)
    }


def run(
    call: Callable[..., Any],
    inputs: Inputs,
    differentiable: Callable[[str], bool] = lambda name: True,
) -> Result:
    """Call forward, then backward from a fixed random cotangent.

    Args:
        call: takes `inputs` as keywords and returns a tensor or a tuple of them (None is skipped).
        inputs: the keyword arguments; floating tensors get a gradient.
        differentiable: called with a name; False if this input gets no gradient.
    """
    import torch

    leaves = differentiable_leaves(inputs, differentiable)
    returned = call(**{**inputs, **leaves})
    outputs = returned if isinstance(returned, Sequence) else (returned,)
    outputs = tuple(output for output in outputs if isinstance(output, torch.Tensor))
    roots = [output for output in outputs if output.requires_grad]
    gradients: tuple[Tensor | None, ...] = (None,) * len(leaves)
    if roots:
        cotangents = [_cotangent(output, seed) for seed, output in enumerate(roots)]
        gradients = torch.autograd.grad(roots, list(leaves.values()), cotangents, allow_unused=True)
    return Result(
        tuple(output.detach() for output in outputs), dict(zip(leaves, gradients, strict=True))
    )


def assert_outputs_equal(got: Result, want: Result, rtol: float, atol: float) -> None:
    """Check that each element of each output is within `atol + rtol * |want|`, and the shapes.

    Raises:
        AssertionError: an output differs; the message says which one.
    """
    import torch

    assert len(got.outputs) == len(want.outputs), (
        f"{len(got.outputs)} outputs, the reference has {len(want.outputs)}"
    )
    for index, (ours, theirs) in enumerate(zip(got.outputs, want.outputs, strict=True)):
        try:
            torch.testing.assert_close(ours.to(theirs.dtype), theirs, rtol=rtol, atol=atol)
        except AssertionError as error:
            raise AssertionError(f"output {index}: {error}") from None


def assert_gradients_equal(got: Result, want: Result, rtol: float) -> None:
    """Check that each gradient is within `rtol` of the reference's in the maximum norm. A missing
    gradient counts as 0.

    Raises:
        AssertionError: a gradient differs; the message names the input and the relative error.
    """
    import torch

    for name, theirs in want.gradients.items():
        ours = got.gradients[name]
        if theirs is None:
            theirs = torch.zeros(
                (), dtype=torch.float64, device=None if ours is None else ours.device
            )
        if ours is None:
            ours = torch.zeros_like(theirs)
        if not theirs.numel() or not ours.numel():
            assert ours.shape == theirs.shape, f"gradient of {name}: shape {tuple(ours.shape)}"
            continue
        assert bool(torch.isfinite(ours).all()), f"gradient of {name}: not finite"
        scale = max(float(theirs.abs().max()), torch.finfo(torch.float32).tiny)
        error = float((ours.double() - theirs.double()).abs().max()) / scale
        assert error <= rtol, f"gradient of {name}: relative error {error:.2e}, allowed {rtol:.2e}"


def _cotangent(output: Tensor, seed: int) -> Tensor:
    import torch

    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(output.shape, generator=generator, dtype=torch.float64)
    return numbers.bfloat16().to(output)


def _is_floating(value: object) -> bool:
    import torch

    return isinstance(value, torch.Tensor) and value.is_floating_point()
