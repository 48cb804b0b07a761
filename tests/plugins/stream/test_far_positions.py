"""Positions far from zero in float64, such as UTM metres or Unix times: nothing rounds them before
it has taken differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from evenfall_stream import (
    EventStreamClassifier,
    OnlineClassifier,
    StreamClassifier,
    StreamConv,
    StreamSegmenter,
)
from evenfall_stream import transforms as T
from evenfall_stream.neighbors import fps, knn
from evenfall_stream.nn.oracle import all_pairs, influence

UTM = torch.tensor([500_000.0, 5_000_000.0, 300.0], dtype=torch.float64)
UNIX = 1.7e12
"""Milliseconds since 1970: float32 tells apart what lies two minutes apart."""


def cloud(points: int = 40) -> Tensor:
    """A cloud of about a metre, of coordinates that float64 holds exactly, near zero and far."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(-512, 512, (points, 3), generator=generator).double() / 1024


def events(count: int = 60) -> tuple[Tensor, Tensor]:
    """Polarities and (time, x, y) of events an eighth of a millisecond apart and more."""
    generator = torch.Generator().manual_seed(1)
    time = torch.randint(0, 40, (count,), generator=generator).cumsum(0).double() / 8
    x, y = (torch.randint(0, extent, (count,), generator=generator) for extent in (5, 4))
    polarity = torch.randint(0, 2, (count, 1), generator=generator).float()
    return polarity, torch.stack([time, x.double(), y.double()], 1)


def later(pos: Tensor) -> Tensor:
    return pos + torch.tensor([UNIX, 0, 0], dtype=torch.float64)


@pytest.mark.parametrize("step", ["coordinate", "learned", "uniform"])
def test_layer(step: Any) -> None:
    torch.manual_seed(0)
    conv, pos = StreamConv(5, 4, step=step, d_state=3, bidirectional=True), cloud()
    x, batch = torch.randn(40, 5), (torch.arange(40) > 15).long()
    expected = conv(x, pos, batch)
    assert torch.equal(conv(x, pos + UTM, batch), expected)
    torch.testing.assert_close(all_pairs(conv, x, pos + UTM, batch), expected, rtol=1e-4, atol=1e-5)
    result, near = (influence(conv, x, at, batch, 20) for at in (pos + UTM, pos))
    torch.testing.assert_close(result, near, rtol=1e-4, atol=1e-6)


def test_searches() -> None:
    pos, batch = cloud(), (torch.arange(40) > 15).long()
    far = pos + UTM
    assert torch.equal(fps(far, batch, 0.4, False), fps(pos, batch, 0.4, False))
    assert torch.equal(knn(far, far, 5, batch, batch), knn(pos, pos, 5, batch, batch))


@pytest.mark.parametrize("options", [{}, {"layout": "sequence"}], ids=str)
def test_models_without_absolute_positions(options: dict[str, Any]) -> None:
    torch.manual_seed(0)
    small = {"width": 12, "depth": 1, "groups": 6, "neighbors": 4, "position_embedding": False}
    model = StreamClassifier(3, **{**small, **options}).eval()
    pos = cloud()
    assert torch.equal(model(pos + UTM), model(pos))


@pytest.mark.parametrize("kind", [StreamClassifier, StreamSegmenter])
def test_normalized_clouds(kind: Any) -> None:
    torch.manual_seed(0)
    model = kind(3, width=12, depth=1, groups=6, neighbors=4).eval()
    normalize = T.NormalizeSphere()
    near, far = (normalize(Data(pos=pos)).pos for pos in (cloud(), cloud() + UTM))
    torch.testing.assert_close(far, near, rtol=0, atol=1e-12)
    torch.testing.assert_close(model(far.float()), model(near.float()))
    torch.testing.assert_close(model(far), model(near))


@pytest.mark.parametrize("head", ["mean", "time"])
def test_event_times(head: Any) -> None:
    torch.manual_seed(0)
    model = EventStreamClassifier(
        3, (5, 4), widths=(8, 8), strides=(3, 2), head=head, length_scale=(1.0, 40.0)
    ).eval()
    x, pos = events()
    expected = model(x, pos)
    assert torch.equal(model(x, later(pos)), expected)
    stream = OnlineClassifier(model)
    stream.push(x, later(pos))
    torch.testing.assert_close(stream.logits(), expected, rtol=1e-4, atol=1e-5)
    rounded = later(pos).float()
    assert not torch.allclose(model(x, rounded), expected, atol=1e-4)  # what float32 would give


@pytest.mark.parametrize(
    "transform",
    [
        T.OrderByCoordinate(1),
        T.CoordinateDifferences(0),
        T.NearestNeighborGraph(3),
        T.FarthestPoints(9, random_start=False),
    ],
    ids=str,
)
def test_transforms_of_clouds(transform: BaseTransform) -> None:
    pos = cloud()[cloud()[:, 0].argsort()]
    near, far = (transform(Data(pos=at)) for at in (pos, pos + UTM))
    assert torch.equal(far.pos - UTM, near.pos)
    assert far.keys() == near.keys()
    names = set(near.keys()) - {"pos"}
    assert all(torch.equal(far[name], near[name]) for name in names)


@pytest.mark.parametrize(
    "transform",
    [
        T.DropEvents(0.2),
        T.DropEventChunk(1.0, 0.5),
        T.SpatialJitter(1.0, (5, 4)),
        T.RandomEventShift(2, (5, 4)),
        T.RandomEventScale(0.5, 1.5, (5, 4)),
        T.RandomEventRotate(30.0, (5, 4)),
        T.RandomEventFlip((5, 4), p=1.0),
        T.EventSlice(20),
        T.TimeWindow(30.0),
        T.AddNoiseEvents(5, (5, 4)),
        T.TimeJitter(0.0),
    ],
    ids=str,
)
def test_transforms_of_events(transform: BaseTransform) -> None:
    x, pos = events()
    results = []
    for at in (pos, later(pos)):
        torch.manual_seed(3)
        results.append(transform(Data(x=x, pos=at)))
    near, far = results
    assert near.pos.dtype == far.pos.dtype == torch.float64
    since = [data.pos[:, 0] - data.pos[0, 0] for data in results]
    torch.testing.assert_close(since[1], since[0], rtol=0, atol=1e-3)
    assert torch.equal(far.pos[:, 1:], near.pos[:, 1:])
    assert torch.equal(far.x, near.x)
