"""A segmenter is trained and evaluated by recipes and commands."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner

pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall.cli.app import app as evenfall_app
from evenfall_stream import StreamSegmenter
from evenfall_stream.cli import app
from evenfall_stream.datasets import SyntheticRooms
from evenfall_stream.inference import FileSegmenter, Settings
from evenfall_stream.training.recipe import Recipe, load_recipe
from evenfall_stream.training.segmentation import iou_scores, object_iou

RECIPE = {
    "task": "segments", "dataset": "synthetic-rooms", "epochs": 2, "batch_size": 4,
    "dataset_options": {"points": 96, "count": 8},
    "model_options": {"width": 12, "depth": 1, "groups": 12, "neighbors": 4, "head": []},
}  # fmt: skip


def test_iou_of_a_confusion_matrix() -> None:
    scores = iou_scores(torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert scores["class_iou"] == {"a": 3 / 6, "b": 4 / 7, "c": None}
    assert scores["mean_iou"] == pytest.approx((3 / 6 + 4 / 7) / 2)


def test_iou_of_an_object_has_the_parts_of_its_category_alone() -> None:
    scores = torch.tensor([[9.0, 1, 0, 0], [9, 0, 1, 0], [9, 0, 1, 0], [9, 0, 1, 0]])
    labels = torch.tensor([1, 1, 2, 2])
    expected = (1 / 2 + 2 / 3 + 1) / 3  # part 3 is neither there nor predicted
    assert object_iou(scores, labels, range(1, 4)) == pytest.approx(expected)


def test_the_task_and_the_model_fit() -> None:
    assert Recipe(task="segments").model == "StreamSegmenter"
    with pytest.raises(ValueError, match="task 'points' does not fit model 'StreamSegmenter'"):
        Recipe(model="StreamSegmenter")
    for name in ("synthetic-rooms", "shapenet-part", "s3dis"):
        assert load_recipe(name).task == "segments"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on small rooms."""
    folder = tmp_path_factory.mktemp("rooms")
    (folder / "rooms.yaml").write_text(yaml.safe_dump(RECIPE))
    _evenfall("train", folder / "rooms.yaml", "--data", folder, "--output", folder / "run")
    return folder / "run"


def _evenfall(*arguments: object, fails: bool = False) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert (result.exit_code != 0) == fails, result.output
    return result


def test_train_and_evaluate(run: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(0 <= line["valid_mean_iou"] <= 1 for line in lines)
    arguments = ["evaluate", run / "best", "--data", tmp_path]
    result = json.loads(_evenfall(*arguments, "--json").stdout)
    assert result["examples"] == 8 * 96
    iou = [value for value in result["class_iou"].values() if value is not None]
    assert result["mean_iou"] == pytest.approx(sum(iou) / len(iou))
    table = _evenfall(*arguments).output
    assert "mIoU" in table
    assert "chair" in table


def test_predict_gives_each_point_of_a_file_the_class_of_the_model(
    run: Path, tmp_path: Path
) -> None:
    cloud = SyntheticRooms(tmp_path, "test", points=96).get(3).pos
    np.save(tmp_path / "room.npy", cloud.numpy())
    np.save(tmp_path / "bad.npy", np.full((4, 3), np.nan))
    arguments = ["predict", run / "best", tmp_path / "room.npy", "--output", tmp_path / "out"]
    shown = _evenfall(*arguments, "--pictures", tmp_path / "out")
    assert "room.png" in shown.stdout
    assert (tmp_path / "out/room.png").stat().st_size > 5000
    table = list(csv.DictReader((tmp_path / "out/room.csv").open()))
    model = StreamSegmenter.from_pretrained(run / "best").eval()
    with torch.no_grad():
        expected = model(cloud).argmax(1).tolist()
    assert [row["class"] for row in table] == [model.class_names[number] for number in expected]
    assert [float(row["y"]) for row in table] == cloud[:, 1].tolist()
    both = _evenfall("predict", run / "best", tmp_path / "room.npy", tmp_path / "bad.npy",
                     "--json", fails=True)  # fmt: skip
    good, bad = json.loads(both.stdout)
    assert good["classes"] == {
        name: expected.count(number) for number, name in enumerate(model.class_names)
    }
    assert "finite" in bad["error"]


def test_predict_refuses_what_a_segmenter_cannot_do(run: Path, tmp_path: Path) -> None:
    far = torch.rand(50, 3).double() + torch.tensor([3e8, 5e9, 0.0]).double()
    np.save(tmp_path / "far.npy", far.numpy())
    command = ("predict", run / "best", tmp_path / "far.npy")
    assert "float32 rounds the positions" in _evenfall(*command, fails=True).output
    refused = _evenfall(*command, "--window", 3, fails=True).output
    assert "--window is not an option for a segmenter" in refused
    coloured = StreamSegmenter(2, in_channels=3, width=8, depth=1, groups=4, neighbors=2, head=[])
    with pytest.raises(ValueError, match="needs 3 features per point"):
        FileSegmenter(coloured, Settings())


def test_points_that_the_preparation_selects_keep_their_place(tmp_path: Path) -> None:
    cloud = torch.rand(60, 3).double()
    np.save(tmp_path / "cloud.npy", cloud.numpy())
    model = StreamSegmenter(2, width=8, depth=1, groups=4, neighbors=2, head=[]).eval()
    steps = [{"FarthestPoints": {"count": 20}}, {"NormalizeScale": {}}]
    found = FileSegmenter(model, Settings(preparation=steps)).predict(tmp_path / "cloud.npy")
    assert found.pos.shape == (20, 3)
    assert (found.pos[:, None] == cloud).all(2).any(1).all()


def test_pack_describes_a_segmenter_by_its_iou(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "rooms-tiny"
    _evenfall("pack", run, "--data", tmp_path, "--output", folder, "--baseline", f"same={run}")
    results = json.loads((folder / "results.json").read_text())
    valid, test = (row for row in results["evaluations"] if row["published"])
    assert results["summary"][0]["mean_iou"] == valid["mean_iou"]
    card = ModelCard.load(folder / "README.md")
    assert [(one.metric_type, one.metric_value) for one in card.data.eval_results] == [
        ("mean_iou", round(100 * scores["mean_iou"], 2)) for scores in (valid, test)
    ]
    assert f"| {100 * test['mean_iou']:.2f} % |" in card.text
    assert (folder / "segments.png").is_file()
    scores = StreamSegmenter.from_pretrained(folder).eval()(torch.rand(96, 3))
    assert scores.shape == (96, 4)


def test_a_packed_segmenter_can_be_published(run: Path, tmp_path: Path) -> None:
    folder, data = tmp_path / "rooms-tiny", ["--data", str(tmp_path)]
    _evenfall("pack", run, *data, "--output", folder)
    checked = CliRunner().invoke(
        evenfall_app, ["checkpoints", "check", str(folder), "--evaluate", "--split", "test", *data]
    )
    assert checked.exit_code == 0, checked.output
    assert "can be published" in checked.output
