"""Layers and models compile in one graph and export with any number of points and graphs."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from evenfall_stream import (
    EventStreamClassifier,
    StreamBlock,
    StreamClassifier,
    StreamConv,
    StreamSegmenter,
)
from evenfall_stream.neighbors import fps, knn

ANY = {0: torch.export.Dim.DYNAMIC}
POINTS = {"width": 12, "depth": 1, "groups": 6, "neighbors": 4, "d_state": 3}
SIZES, OTHER_SIZES = (9, 3, 12), (2, 30, 1, 10)
"""Points of the clouds: more and fewer than there are groups and neighbours."""


def clouds(sizes: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    pos = torch.rand(sum(sizes), 3, generator=torch.Generator().manual_seed(len(sizes)))
    return pos, torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))


def points(sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    pos, batch = clouds(sizes)
    return pos.mm(torch.ones(3, 5)), pos, batch


def events(sizes: tuple[int, ...]) -> tuple[Tensor, ...]:
    pos, batch = clouds(sizes)
    time = torch.cat([part.sort().values for part in pos[:, 0].split(sizes)])
    pixels = (pos[:, 1:] * torch.tensor([8, 6])).floor()
    return pixels[:, :1] % 2, torch.cat([time[:, None] * 100, pixels], 1), batch


CASES: list[Any] = [
    (lambda: StreamConv(5, 4, d_state=3, bidirectional=True), points),
    (lambda: StreamBlock(5, d_state=3, mlp_ratio=1.0), points),
    (lambda: StreamClassifier(3, **POINTS), clouds),
    (lambda: StreamClassifier(3, **POINTS, layout="sequence"), clouds),
    (lambda: StreamClassifier(3, architecture="pointnet", width=12), clouds),
    (lambda: StreamSegmenter(3, **POINTS), clouds),
    (
        lambda: EventStreamClassifier(
            3, (8, 6), widths=(6, 8), depths=(1, 2), strides=(3, 2), head="time", d_state=3
        ),
        events,
    ),
]
NAMES = ["conv", "block", "clouds", "sequence", "pointnet", "segmenter", "events"]


def build(make: Any) -> nn.Module:
    torch.manual_seed(0)
    module: nn.Module = make().eval()
    return module


@pytest.mark.parametrize(("make", "inputs"), CASES, ids=NAMES)
def test_exports_with_any_number_of_points_and_graphs(make: Any, inputs: Any) -> None:
    module, example = build(make), inputs(SIZES)
    program = torch.export.export(module, example, dynamic_shapes=tuple(ANY for _ in example))
    exported = program.module()
    for sizes in (SIZES, OTHER_SIZES):
        torch.testing.assert_close(exported(*inputs(sizes)), module(*inputs(sizes)))
    *others, batch = example
    with pytest.raises(RuntimeError, match="batch must be sorted"):
        exported(*others, batch.flip(0))


@pytest.mark.parametrize(("make", "inputs"), CASES[2::4], ids=NAMES[2::4])
def test_compiles_in_one_graph(make: Any, inputs: Any) -> None:
    torch._dynamo.reset()
    module = build(make)
    compiled = torch.compile(module, backend="eager", fullgraph=True)
    for sizes in (SIZES, OTHER_SIZES):
        torch.testing.assert_close(compiled(*inputs(sizes)), module(*inputs(sizes)))


def test_trains_in_one_graph() -> None:
    module, (pos, batch) = build(lambda: StreamClassifier(3, **POINTS)).train(), clouds(SIZES)
    parameters = list(module.parameters())
    gradients = []
    for run in (module, torch.compile(module, backend="aot_eager", fullgraph=True)):
        torch.manual_seed(1)  # of the first centre and of dropout
        module.load_state_dict(build(lambda: StreamClassifier(3, **POINTS)).state_dict())
        module.head.eval()
        gradients.append(torch.autograd.grad(run(pos, batch).square().sum(), parameters))
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-5)


def test_with_the_number_of_graphs_a_layer_breaks_no_graph() -> None:
    torch._dynamo.reset()
    module, (x, pos, batch) = build(CASES[0][0]), points(SIZES)
    report = torch._dynamo.explain(module)(x, pos, batch, None, 3)
    assert (report.graph_count, report.graph_break_count) == (1, 0)
    settings = {"capture_scalar_outputs": True}
    with torch._dynamo.config.patch(settings):
        report = torch._dynamo.explain(module)(x, pos, batch)
    assert (report.graph_count, report.graph_break_count) == (1, 0)


def test_a_serialization_is_an_argument_of_an_exported_layer() -> None:
    conv, (x, pos, batch) = build(CASES[0][0]), points(SIZES)
    assert isinstance(conv, StreamConv)
    order = conv.serialize(pos, batch)
    program = torch.export.export(conv, (x, pos, batch, order))
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    loaded = torch.export.load(file).module()
    torch.testing.assert_close(loaded(x, pos, batch, order), conv(x, pos, batch))


def test_searches_compile_in_one_graph() -> None:
    pos, batch = clouds(SIZES)

    def search(pos: Tensor, batch: Tensor) -> tuple[Tensor, ...]:
        chosen = fps(pos, batch, 0.5, False)
        return chosen, knn(pos, pos[chosen], 4, batch, batch[chosen])

    result = torch.compile(search, backend="eager", fullgraph=True)(pos, batch)
    for got, expected in zip(result, search(pos, batch), strict=True):
        assert torch.equal(got, expected)
