"""What predict takes from the recipe of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall_stream import StreamClassifier
from evenfall_stream.inference import FilePredictor, checkpoint_settings


@pytest.mark.parametrize("dataset", ["clouds", "modelnet40"])
def test_a_mesh_has_as_many_points_as_in_training(tmp_path: Path, dataset: str) -> None:
    recipe = f"dataset: {dataset}\ndataset_options: {{points: 2048}}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert checkpoint_settings(tmp_path).points == 2048


def test_a_cloud_is_scaled_as_in_training(tmp_path: Path) -> None:
    np.save(tmp_path / "cloud.npy", 7 + 3 * np.random.default_rng(0).normal(size=(40, 3)))
    small = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2, "dropout": 0.0}
    seen: list[float] = []
    model = StreamClassifier(2, **small).eval()
    model.register_forward_pre_hook(
        lambda _, args, kwargs: seen.append(float(kwargs["pos"].norm(dim=1).max())),
        with_kwargs=True,
    )
    for options in ("{}", "{normalize: true}", "{normalize: false}"):
        recipe = f"dataset: scanobjectnn\ndataset_options: {options}\n"
        (tmp_path / "recipe.yaml").write_text(recipe)
        FilePredictor(model, checkpoint_settings(tmp_path)).predict(tmp_path / "cloud.npy")
    assert seen[:2] == [pytest.approx(1), pytest.approx(1)]
    assert seen[2] > 10


def test_clouds_of_an_own_class_are_scaled_as_one_says(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("dataset: my.data:Clouds\n")
    with pytest.raises(ValueError, match=r"whether 'my.data:Clouds' .* got None: pass --unit-sph"):
        checkpoint_settings(tmp_path)
    assert checkpoint_settings(tmp_path, True).unit_sphere is True
    assert checkpoint_settings(tmp_path, False).unit_sphere is False
    (tmp_path / "recipe.yaml").write_text("dataset: my.data:Events\ntask: events\n")
    assert checkpoint_settings(tmp_path).unit_sphere is None
    (tmp_path / "recipe.yaml").write_text("dataset: clouds\n")
    assert checkpoint_settings(tmp_path, False).unit_sphere is False
