"""A grid of runs with the registered trainer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from evenfall import registry
from evenfall.runs import run_grid

RECIPE = {
    "dataset": "shapes",
    "model_options": {"width": 8, "depth": 1, "groups": 4, "neighbors": 2, "head": []},
    "epochs": 1,
    "batch_size": 10,
}


@pytest.mark.usefixtures("shapes")
def test_cells_are_trained_compared_and_extended(tmp_path: Path) -> None:
    grid = {
        "recipe": "base.yaml", "seeds": [0, 1], "metrics": ["accuracy"],
        "cells": {"short": {}, "narrow": {"model_options.width": 4}},
    }  # fmt: skip
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(RECIPE))
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))

    def run() -> dict[str, Any]:
        trainer = registry.trainers.get("stream")
        table = run_grid(tmp_path / "grid.yaml", tmp_path, tmp_path / "out", trainer)
        assert not any(cell["failures"] for cell in table["cells"])
        return table

    table = run()
    short, _narrow = table["cells"]
    figure = short["figures"]["valid"]["accuracy"]
    assert len(figure["values"]) == 2
    assert figure["deviation"] is not None
    recipe = yaml.safe_load((tmp_path / "out/narrow/seed-1/best/recipe.yaml").read_text())
    assert recipe["seed"] == 1
    assert recipe["model_options"]["width"] == 4
    before = (tmp_path / "out/short/seed-0/results.json").read_text()
    assert run() == table
    assert (tmp_path / "out/short/seed-0/results.json").read_text() == before

    grid["cells"] = {"short": {"epochs": 2}}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    run()
    log = (tmp_path / "out/short/seed-0/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 1, 2]
    assert (tmp_path / "out/grid.md").read_text().startswith("| cell | split | runs | accuracy |")
