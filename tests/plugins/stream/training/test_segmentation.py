"""A segmenter is trained and evaluated by recipes and commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml
from typer.testing import CliRunner

pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall_stream.cli import app
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


def test_train_and_evaluate(tmp_path: Path) -> None:
    (tmp_path / "rooms.yaml").write_text(yaml.safe_dump(RECIPE))
    runner, run = CliRunner(), tmp_path / "run"
    places = ["--data", str(tmp_path), "--output", str(run)]
    done = runner.invoke(app, ["train", str(tmp_path / "rooms.yaml"), *places])
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert all(0 <= line["valid_mean_iou"] <= 1 for line in lines)
    arguments = ["evaluate", str(run / "best"), "--data", str(tmp_path)]
    result = json.loads(runner.invoke(app, [*arguments, "--json"]).stdout)
    assert result["examples"] == 8 * 96
    iou = [value for value in result["class_iou"].values() if value is not None]
    assert result["mean_iou"] == pytest.approx(sum(iou) / len(iou))
    table = runner.invoke(app, arguments).output
    assert "mIoU" in table
    assert "chair" in table
