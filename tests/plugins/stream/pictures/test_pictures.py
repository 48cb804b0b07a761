"""Pictures are written, and the influence equals the gradient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("matplotlib")

from PIL import Image
from torch_geometric.data import Data

from evenfall_stream import StreamClassifier
from evenfall_stream.pictures import (
    class_influence,
    draw_evaluation,
    draw_influence,
    point_influence,
)


def make(architecture: str = "stream", **options: Any) -> tuple[StreamClassifier, Data]:
    torch.manual_seed(0)
    model = StreamClassifier(
        2, architecture=architecture, width=8, depth=1, head=[], **options
    ).double()
    return model, Data(pos=torch.randn(20, 3, dtype=torch.float64))


def size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_cloud_for_each_panel(tmp_path: Path) -> None:
    pos = torch.randn(30, 3)
    panels = {"one": (pos.norm(dim=1), None), "two": (torch.zeros(30), 4)}
    wide, high = size(draw_influence(pos, panels, tmp_path / "influence.png"))
    assert wide > 1.8 * high
    with pytest.raises(ValueError, match=r"influence must have shape \(30,\), got \(29,\)"):
        draw_influence(pos, {"one": (torch.zeros(29), None)}, tmp_path / "no.png")
    with pytest.raises(ValueError, match=r"pos must have shape \(points, 3\), got \(30, 2\)"):
        draw_influence(pos[:, :2], panels, tmp_path / "no.png")
    assert not (tmp_path / "no.png").exists()


def test_class_influence_is_the_gradient_of_the_logit() -> None:
    model, data = make(groups=None)
    model.train()
    influence = class_influence(model, data, 1)
    assert model.training
    assert influence.shape == (20,)
    model.eval()
    point, step = int(influence.argmax()), 1e-6
    slope = []
    for axis in range(3):
        ends = []
        for sign in (1, -1):
            pos = data.pos.clone()
            pos[point, axis] += sign * step
            ends.append(float(model(pos)[0, 1]))
        slope.append((ends[0] - ends[1]) / (2 * step))
    assert float(influence[point]) == pytest.approx(sum(s * s for s in slope) ** 0.5, rel=1e-4)
    logits = model(data.pos)[0]
    best = class_influence(model, data, int(logits.argmax()))
    assert torch.equal(class_influence(model, data), best)


def test_a_point_of_pointnet_is_influenced_by_itself_alone() -> None:
    model, data = make("pointnet")
    influence = point_influence(model, data, 7)
    assert influence.nonzero().flatten().tolist() == [7]
    model, data = make(groups=None, bidirectional=True)
    assert int((point_influence(model, data, 7) > 0).sum()) == 20


def test_no_such_class_or_point() -> None:
    model, data = make(groups=None)
    with pytest.raises(ValueError, match="target must be between 0 and 1, got 2"):
        class_influence(model, data, 2)
    with pytest.raises(ValueError, match="point must be between 0 and 19, got -1"):
        point_influence(model, data, -1)


def test_all_of_an_evaluation(tmp_path: Path, shapes: type[Any]) -> None:
    from evenfall_stream.training import Recipe
    from evenfall_stream.training.evaluation import evaluate_recipe

    recipe = Recipe(dataset="shapes")
    model = StreamClassifier(2, width=8, depth=1, groups=4, neighbors=3)
    result = evaluate_recipe(model, recipe, tmp_path, "test")
    files = draw_evaluation(result, model, recipe, tmp_path, "test", tmp_path / "pictures")
    assert [p.name for p in files] == ["confusion.png", "classes.png", "influence.png"]
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == sorted(
        p.name for p in files
    )
