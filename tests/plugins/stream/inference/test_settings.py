"""What predict takes from the recipe of a model."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("torch_geometric")

from evenfall_stream.inference import checkpoint_settings


@pytest.mark.parametrize("dataset", ["clouds", "modelnet40"])
def test_a_mesh_has_as_many_points_as_in_training(tmp_path: Path, dataset: str) -> None:
    recipe = f"dataset: {dataset}\ndataset_options: {{points: 2048}}\n"
    (tmp_path / "recipe.yaml").write_text(recipe)
    assert checkpoint_settings(tmp_path).points == 2048
