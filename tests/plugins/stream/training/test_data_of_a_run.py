"""The data of a run must be what its recipe and its checkpoint say."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall_stream.training import Recipe, train


def test_other_classes_cannot_continue_a_run(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for index in range(3):
            file = tmp_path / "one" / name / f"{index}.npy"
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, np.random.default_rng(index).random((20, 3)))
    shutil.copytree(tmp_path / "one", tmp_path / "other")
    (tmp_path / "other" / "a").rename(tmp_path / "other" / "c")
    options = {"width": 8, "depth": 1, "groups": 4, "neighbors": 2, "d_state": 2}
    recipe = Recipe(dataset="clouds", model_options=options, epochs=1, batch_size=2)
    train(recipe, tmp_path / "one", tmp_path / "run")
    with pytest.raises(
        ValueError, match=r"has the classes \['a', 'b'\], but the data \['b', 'c'\]"
    ):
        train(recipe, tmp_path / "other", tmp_path / "run", resume=True)
    train(recipe, tmp_path / "one", tmp_path / "run", resume=True)


def test_the_size_of_the_sensor_is_that_of_the_data() -> None:
    data = SimpleNamespace(sensor_size=(10, 10), polarities=2)
    recipe = Recipe(task="events", model_options={"sensor_size": [5, 5]})
    with pytest.raises(ValueError, match=r"must be that of the data, \[10, 10\], got \[5, 5\]"):
        recipe.filled(data)
    assert recipe.filled(SimpleNamespace()).model_options["sensor_size"] == [5, 5]
    left_out = Recipe(task="events")
    assert left_out.filled(data).model_options == {"sensor_size": [10, 10], "polarities": 2}
