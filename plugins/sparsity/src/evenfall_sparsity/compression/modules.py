"""Put stored matrices into a model in place of its parameters, and back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from evenfall.counting import counter_for
from evenfall_kernels import StoredMatrix

from ..pruning.masks import forget_mask


class CompressedLinear(nn.Module):
    """torch.nn.Linear with a stored matrix (inputs, outputs): y = x W + b, for inference.

    Args:
        weight: (inputs, outputs).
        bias: (outputs,) or None.
    """

    def __init__(self, weight: StoredMatrix, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.in_features, self.out_features = weight.shape
        self.weight = weight
        self.register_parameter("bias", bias)

    def forward(self, input: Tensor) -> Tensor:
        """(..., inputs) -> (..., outputs)."""
        out: Tensor = self.weight(input, self.bias)
        return out

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}"


def why_not(module: nn.Module, parameter: str) -> str | None:
    """Why a matrix of this module cannot be replaced; None if it can."""
    if parameter not in module._parameters:
        return "computed from other parameters"
    if type(module) is nn.Linear:  # it is replaced as a whole
        has_hooks = module._forward_hooks or module._forward_pre_hooks
        return "its hooks would be lost" if has_hooks else None
    counter = counter_for(module)
    if counter is None or not counter.compressible:
        return f"{type(module).__name__} computes from dense weights"
    return None


def put(model: nn.Module, name: str, stored: StoredMatrix) -> None:
    """Replace the parameter of this full name."""
    path, _, parameter = name.rpartition(".")
    module = model.get_submodule(path)
    if type(module) is nn.Linear:
        parent, _, own = path.rpartition(".")
        replacement = CompressedLinear(stored, module.bias)
        replacement.train(module.training)
        setattr(model.get_submodule(parent), own, replacement)
    else:
        delattr(module, parameter)
        forget_mask(module, parameter)
        setattr(module, parameter, stored)


def restore(model: nn.Module, stored: dict[str, dict[str, Any]]) -> nn.Module:
    """Give a model of the original class the empty matrices of a compressed one, in place.

    Then `load_state_dict` reads what the compressed model saved.

    Args:
        model: as it was before it was compressed.
        stored: `Compression.stored`.

    Raises:
        ValueError: the model lacks a matrix, its shape differs, or it cannot be compressed.
    """
    for name, about in stored.items():
        path, _, parameter = name.rpartition(".")
        try:
            module = model.get_submodule(path)
        except AttributeError:
            module = nn.Module()
        weight = module._parameters.get(parameter)
        if weight is None:
            raise ValueError(f"the model has no parameter {name}, which was compressed")
        matrix = StoredMatrix.empty(about, weight.device)
        reason = why_not(module, parameter)
        if reason is not None:
            raise ValueError(f"{name} cannot be compressed: {reason}")
        axis = 1 if type(module) is nn.Linear else _input_axis(module, parameter)
        if tuple(weight.movedim(axis, 0).shape) != matrix.shape:
            raise ValueError(
                f"{name} must have shape {matrix.shape}, (inputs, outputs), as when it was "
                f"compressed; the model's has {tuple(weight.shape)}"
            )
        put(model, name, matrix)
    return model


def make_dense(model: nn.Module, name: str, dtype: torch.dtype) -> None:
    """Undo `put`: a dense parameter again, in the layout that the module's counter states."""
    path, _, parameter = name.rpartition(".")
    module = model.get_submodule(path)
    dense = getattr(module, parameter).dense().to(dtype)
    if isinstance(module, CompressedLinear):
        parent, _, own = path.rpartition(".")
        linear = nn.Linear(*module.weight.shape, bias=module.bias is not None, device="meta")
        linear.weight = nn.Parameter(dense.t().contiguous())
        linear.bias = module.bias
        setattr(model.get_submodule(parent), own, linear.train(module.training))
        return
    axis = _input_axis(module, parameter)
    delattr(module, parameter)
    setattr(module, parameter, nn.Parameter(dense if axis == 0 else dense.t().contiguous()))


def _input_axis(module: nn.Module, parameter: str) -> int:
    counter = counter_for(module)
    assert counter is not None  # `why_not` asked for it
    (axis,) = (m.input_axis for m in counter.matrices(module) if m.parameter == parameter)
    return axis
