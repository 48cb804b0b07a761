"""STREAM on a GPU, its kernels Triton's, against float64 on the CPU, its kernels the reference's.

Outputs and the gradients of features, positions and every parameter, of the layer in its settings
and of both classifiers. On the CPU, where Triton is interpreted, the small layers alone.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from evenfall.testing.gpu import triton_device

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from torch import Tensor, nn

from evenfall import use_backend
from evenfall_stream import EventStreamClassifier, StreamClassifier, StreamConv

DEVICE = triton_device()
pytestmark = pytest.mark.gpu

ALLOWED = 1e-4
# points of each graph, settings
SMALL: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
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
LARGE: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "zoh": ((200, 33), {"discretization": "zoh"}),
    "dirac": ((200, 33), {"discretization": "dirac"}),
    "2047 points, 64 channels": ((2047,), {"channels": 64, "d_state": 16}),
    "8 graphs, 384 channels": ((64,) * 8, {"channels": 384, "d_state": 16}),
}
LAYERS = SMALL | (LARGE if DEVICE == "cuda" else {})


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def run(model: nn.Module, inputs: dict[str, Tensor], backend: str) -> dict[str, Tensor]:
    """The output and the gradients of features, positions and parameters, by name."""
    leaves = {n: t.requires_grad_() for n, t in inputs.items() if t.is_floating_point()}
    leaves |= {name: p for name, p in model.named_parameters() if p.requires_grad}
    with use_backend(backend):
        out = model(**inputs)
        weight = normal(1, *out.shape).to(out)
        grads = torch.autograd.grad(
            (out * weight).sum(), list(leaves.values()), materialize_grads=True
        )
    return {"output": out.detach(), **dict(zip(leaves, grads, strict=True))}


def assert_equals_float64(model: nn.Module, inputs: dict[str, Tensor]) -> None:
    """The largest difference of each tensor is within ALLOWED times its largest value."""

    def move_inputs(device: str, dtype: torch.dtype) -> dict[str, Tensor]:
        return {
            name: value.detach().to(device, dtype if value.is_floating_point() else None)
            for name, value in inputs.items()
        }

    exact = run(deepcopy(model).double(), move_inputs("cpu", torch.float64), "reference")
    result = run(deepcopy(model).to(DEVICE), move_inputs(DEVICE, torch.float32), "triton")
    for name, expected in exact.items():
        difference = (result[name].cpu().double() - expected).abs().max()
        error = difference / expected.abs().max().clamp_min(1e-9)
        assert float(error.nan_to_num(float("inf"))) <= ALLOWED, name


@pytest.mark.parametrize(("sizes", "settings"), LAYERS.values(), ids=list(LAYERS))
def test_layer(sizes: tuple[int, ...], settings: dict[str, Any]) -> None:
    torch.manual_seed(0)
    settings = {"channels": 6, "d_state": 3, **settings}
    channels = settings.pop("channels")
    model = StreamConv(channels, channels, **settings)
    if model.score is not None:
        model.score.bias.requires_grad_(False)  # cancels in the softmax: its gradient is rounding
    points = sum(sizes)
    batch = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    inputs = {"x": normal(2, points, channels), "pos": normal(3, points, 3), "batch": batch}
    assert_equals_float64(model, inputs)


@pytest.mark.parametrize(
    ("architecture", "layout"),
    [("stream", "parallel"), ("pointmamba", "sequence"), ("pointnet", "parallel")],
)
def test_classifier(architecture: str, layout: str) -> None:
    """In evaluation, where the first centre is the same everywhere."""
    torch.manual_seed(0)
    model = StreamClassifier(
        3, architecture=architecture, width=12, depth=1, groups=8, neighbors=4, layout=layout,
        d_state=3, head=(8,),
    ).eval()  # fmt: skip
    assert_equals_float64(model, {"pos": normal(4, 40, 3)})


def test_event_classifier() -> None:
    """Polarities and pixels are whole numbers, but given as floating point."""
    torch.manual_seed(0)
    model = EventStreamClassifier(
        3, (5, 4), widths=(6, 8), depths=(1, 2), strides=(4, 2), frequencies=3, d_state=3
    ).eval()
    batch = torch.arange(2).repeat_interleave(30)
    time = normal(5, 2, 30).abs().cumsum(1).view(-1, 1)
    pixels = torch.stack([torch.arange(60) % 5, torch.arange(60) % 4], 1).float()
    polarity = (torch.arange(60) % 2).float()[:, None]
    assert_equals_float64(
        model, {"x": polarity, "pos": torch.cat([time, pixels], 1), "batch": batch}
    )
