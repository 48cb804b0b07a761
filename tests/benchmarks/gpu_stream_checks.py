"""STREAM on a GPU, its kernels Triton's, against float64 on the CPU, its kernels the reference's.

Outputs and the gradients of features, positions and every parameter, of the layer in its settings
and of both classifiers.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from gpu_checks import relative_error, tried
from torch import Tensor, nn

from evenfall import use_backend
from evenfall_stream import EventStreamClassifier, StreamClassifier, StreamConv

ALLOWED = 1e-4

# points of each graph, settings
LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((33,), {}),
    "one point": ((1,), {}),
    "graphs, mean": ((5, 1, 9), {"combine": "mean", "axes": (1,)}),
    "both ways, own weights": ((9,), {"bidirectional": True, "separate_weights": True}),
    "concat": ((20,), {"combine": "concat", "axes": (2, 0)}),
    "attention": ((9,), {"combine": "attention"}),
    "learned step": ((9, 3), {"step": "learned", "axes": (0,)}),
    "uniform step": ((9, 3), {"step": "uniform", "d_conv": 0, "axes": (0,)}),
    "async": ((9,), {"discretization": "async", "axes": (0,)}),
}
LARGE_LAYERS = LAYERS | {
    "zoh": ((200, 33), {"discretization": "zoh"}),
    "dirac": ((200, 33), {"discretization": "dirac"}),
    "2047 points, 64 channels": ((2047,), {"channels": 64, "d_state": 16}),
    "8 graphs, 384 channels": ((64,) * 8, {"channels": 384, "d_state": 16}),
}


def _normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _run(model: nn.Module, inputs: dict[str, Tensor], backend: str) -> list[Tensor]:
    """The output and the gradients of features, positions and parameters."""
    inputs = {
        name: value.requires_grad_() if value.is_floating_point() else value
        for name, value in inputs.items()
    }
    with use_backend(backend):
        out = model(**inputs)
        leaves = [v for v in (*inputs.values(), *model.parameters()) if v.requires_grad]
        weight = _normal(1, *out.shape).to(out)
        grads = torch.autograd.grad((out * weight).sum(), leaves, materialize_grads=True)
    return [out, *grads]


def error(model: nn.Module, inputs: dict[str, Tensor], device: str) -> float:
    """The worst relative error of the output and of all gradients."""

    def moved(device: str, dtype: torch.dtype) -> dict[str, Tensor]:
        return {
            name: value.detach().to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    exact = _run(deepcopy(model).double(), moved("cpu", torch.float64), "reference")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch names sums that are not deterministic
        found = _run(deepcopy(model).to(device), moved(device, torch.float32), "triton")
    return relative_error([tensor.cpu() for tensor in found], exact)


def layer_error(sizes: tuple[int, ...], settings: dict[str, Any], device: str) -> float:
    torch.manual_seed(0)
    settings = {"channels": 6, "d_state": 3, **settings}
    channels = settings.pop("channels")
    model = StreamConv(channels, channels, **settings)
    if model.score is not None:
        model.score.bias.requires_grad_(False)  # cancels in the softmax: its gradient is rounding
    points = sum(sizes)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    inputs = {"x": _normal(2, points, channels), "pos": _normal(3, points, 3), "batch": batch}
    return error(model, inputs, device)


def clouds_error(architecture: str, layout: str, device: str) -> float:
    """In evaluation, where the first centre is the same everywhere."""
    torch.manual_seed(0)
    model = StreamClassifier(
        3, architecture=architecture, width=12, depth=1, groups=8, neighbors=4, layout=layout,
        d_state=3, head=(8,),
    ).eval()  # fmt: skip
    return error(model, {"pos": _normal(4, 40, 3)}, device)


def events_error(device: str) -> float:
    """Polarities and pixels are whole numbers, but given as floating point."""
    torch.manual_seed(0)
    model = EventStreamClassifier(
        3, (5, 4), widths=(6, 8), depths=(1, 2), strides=(4, 2), frequencies=3, d_state=3
    ).eval()
    batch = torch.arange(2).repeat_interleave(30)
    time = _normal(5, 2, 30).abs().cumsum(1).view(-1, 1)
    pixels = torch.stack([torch.arange(60) % 5, torch.arange(60) % 4], 1).float()
    polarity = (torch.arange(60) % 2).float()[:, None]
    inputs = {"x": polarity, "pos": torch.cat([time, pixels], 1), "batch": batch}
    return error(model, inputs, device)


def check_stream(device: str, large: bool) -> Iterator[dict[str, Any]]:
    """A row for each setting of the layer and for each model."""
    calls: dict[str, Callable[[], float]] = {
        f"StreamConv: {name}": partial(layer_error, *case, device)
        for name, case in (LARGE_LAYERS if large else LAYERS).items()
    }
    for case in (("stream", "parallel"), ("pointmamba", "sequence"), ("pointnet", "parallel")):
        calls[f"StreamClassifier: {', '.join(case)}"] = partial(clouds_error, *case, device)
    calls["EventStreamClassifier"] = partial(events_error, device)
    for name, call in calls.items():
        yield tried(name, ALLOWED, call)
