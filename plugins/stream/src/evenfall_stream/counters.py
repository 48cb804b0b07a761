"""Operation counters of STREAM's modules, for `evenfall.counting`.

Letters: E inner channels, L places.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.parameter import is_lazy

from evenfall.counting import Counter, Matrix, Operations, Product, multiply, record_product
from evenfall_kernels import causal_conv1d


def _linear(module: Any) -> tuple[Matrix, ...]:
    return () if is_lazy(module.weight) else (Matrix("weight", 1),)


LINEAR = Counter(_linear, lambda module, inputs, output: multiply(inputs["x"], module.weight, 1))
"""torch_geometric's Linear; without a matrix until its inputs are known."""


def _matrices(module: Any) -> tuple[Matrix, ...]:
    filters = (Matrix("conv1d.weight", 1),) if module.d_conv else ()
    return (*filters, Matrix("x_proj.weight", 1, "output"), Matrix("dt_proj.weight", 1, "output"))


def _view(module: Any, inputs: Mapping[str, Any], output: Any) -> Operations:
    """The filter, x_proj and dt_proj; the scan multiplies states, not weights."""
    u, total = inputs["u"], Operations()
    if module.d_conv:
        total += _filter(module, inputs)
        u = causal_conv1d(
            u[None], module.conv1d.weight[:, 0].to(u.dtype), module.conv1d.bias.to(u.dtype),
            initial_state=_past(inputs), activation="silu", cu_seqlens=inputs.get("cu_seqlens"),
        )[0]  # fmt: skip
    else:
        u = F.silu(u)
    total += multiply(u.T, module.x_proj.weight, 1)
    delta = F.linear(u.T, module.x_proj.weight)[:, : module.dt_rank]
    return total + multiply(delta, module.dt_proj.weight, 1)


def _past(inputs: Mapping[str, Any]) -> Tensor | None:
    state = inputs.get("state")
    return None if state is None else state.conv


def _filter(module: Any, inputs: Mapping[str, Any]) -> Operations:
    """Counts are convolutions of masks; products with the padding before a start do not count."""
    u, weight, past = inputs["u"], module.conv1d.weight, _past(inputs)

    def products(values: Tensor, filters: Tensor, before: Tensor | None) -> int:
        counts: Any = causal_conv1d(
            values[None].float(), filters.float(), initial_state=before,
            cu_seqlens=inputs.get("cu_seqlens"),
        )  # fmt: skip
        return int(counts.double().round().sum())

    taps = weight[:, 0]
    dense = products(
        torch.ones_like(u), torch.ones_like(taps), None if past is None else torch.ones_like(past)
    )
    effective = products(u != 0, taps != 0, None if past is None else (past != 0).float())
    result = Operations(dense, effective)
    record_product(Product(weight, u.shape[1], (u != 0).sum(1), u.double().square().sum(1), result))
    return result


SELECTIVE_VIEW = Counter(_matrices, _view)
"""SelectiveView: depthwise filter, x_proj and dt_proj."""


def _tables(module: Any) -> tuple[Matrix, ...]:
    return (Matrix("table", 0, "lookup"),) if module.frequencies is None else ()


EVENT_EMBEDDING = Counter(_tables)
"""EventEmbedding: rows are read. Those of a smooth embedding do not depend on the input."""
