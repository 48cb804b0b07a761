"""What dense and convolution layers compute, in numpy: for calibration and comparison."""

from __future__ import annotations

from typing import Any

import numpy as np

from .network import Convolution, Network, Projection


def activations(network: Network, examples: Any) -> dict[str, Any]:
    """The values of each population for examples (N, *input shape): name -> (N, H).

    Raises:
        ValueError: there are several inputs, or the examples do not fit it or are not finite.
    """
    values: dict[str, Any] = {}
    inputs = [name for name, one in network.populations.items() if one.kind == "input"]
    if len(inputs) != 1:
        raise ValueError(f"calibration: want a network with one input, got {inputs}")
    for name, population in network.populations.items():
        if population.kind == "input":
            given = np.asarray(examples)
            if given.dtype.kind not in "fiub":
                raise ValueError(f"calibration: got dtype {given.dtype}, want real numbers")
            given = given.astype(np.float64)
            size = int(np.prod(given.shape[1:]))
            if given.ndim < 2 or size != population.units or not len(given):
                raise ValueError(
                    f"calibration: got shape {given.shape}, want (examples, {population.units})"
                )
            if not np.isfinite(given).all():
                raise ValueError("calibration: has values that are not finite")
            values[name] = given.reshape(len(given), -1)
            continue
        total = population.parameters["bias"]
        for one in network.incoming(name):
            total = total + apply(one, values[one.source], population.shape)
        values[name] = np.maximum(total, 0) if "relu" in population.flags else total
    return values


def apply(one: Projection, x: Any, shape: tuple[int, ...]) -> Any:
    """The sums of one projection: x (N, S) -> (N, H)."""
    channels, height, width = one.source_shape
    pool_y, pool_x = one.pool
    x = x.reshape(len(x), channels, height, width)
    rows, columns = height // pool_y, width // pool_x
    if one.pool != (1, 1):
        x = x[:, :, : rows * pool_y, : columns * pool_x]
        x = x.reshape(len(x), channels, rows, pool_y, columns, pool_x).sum((3, 5))
    if not isinstance(one.operation, Convolution):
        return x.reshape(len(x), -1) @ one.operation.weights[:, 0].astype(np.float64)
    weights = one.operation.weights.astype(np.float64)
    _, _, kernel_y, kernel_x = weights.shape
    pad_y, pad_x = one.operation.padding
    x = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel_y, kernel_x), (2, 3))
    step_y, step_x = one.operation.stride
    windows = windows[:, :, ::step_y, ::step_x][:, :, : shape[1], : shape[2]]
    return np.einsum("nchwyx,ocyx->nohw", windows, weights, optimize=True).reshape(len(x), -1)
