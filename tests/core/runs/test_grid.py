"""Grids: cells from a file, resumed runs, a table of means."""

from __future__ import annotations

import errno
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from evenfall.recipes import read_recipe
from evenfall.runs import grid_table, run_grid
from evenfall.runs.grid_file import Cell, cell_recipe, list_cells, read_grid


@dataclass(frozen=True)
class Recipe:
    epochs: int = 1
    rate: float = 0.1
    seed: int = 0
    model: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be positive, got {self.epochs}")


class Trainer:
    """Scores 100 * rate + width + seed; remembers what it was asked."""

    def __init__(self, fails: tuple[int, ...] = ()) -> None:
        self.trained: list[str] = []
        self.evaluated: list[str] = []
        self.fails = fails

    def load_recipe(self, path: str | Path) -> Recipe:
        return Recipe() if path == "known" else read_recipe(path, Recipe)

    def train(
        self, recipe: Recipe, data: Path, output: Path, *, resume: bool, progress: Any
    ) -> Path:
        assert resume
        if recipe.seed in self.fails:
            raise FloatingPointError("loss is nan")
        self.trained.append(f"{output.parent.name}/{output.name}")
        if progress is not None:
            progress("epoch 1 of 1", 1, 1)
        (output / "best").mkdir(parents=True)
        score = 100 * recipe.rate + recipe.model.get("width", 0) + recipe.seed
        (output / "best" / "score").write_text(str(score))
        return output / "best"

    def evaluate(self, folder: Path, data: Path, split: str) -> dict[str, Any]:
        self.evaluated.append(split)
        score = float((folder / "score").read_text())
        return {"accuracy": score, "examples": 7, "names": ["a"], "whole": True}


def write(folder: Path, text: str, recipe: str = "{epochs: 1}") -> Path:
    (folder / "base.yaml").write_text(recipe)
    (folder / "grid.yaml").write_text(text)
    return folder / "grid.yaml"


def test_every_cell_with_every_seed_and_a_table(tmp_path: Path) -> None:
    grid = write(
        tmp_path,
        "{recipe: base.yaml, seeds: [1, 3], metrics: [accuracy], splits: [valid, test],"
        " values: {rate: [1e-1, 0.2], model.width: [10]}}",
    )
    trainer, seen = Trainer(), []
    table = run_grid(grid, "d", tmp_path / "out", trainer, progress=lambda *a: seen.append(a))
    assert trainer.trained == [
        f"rate={rate}_model.width=10/seed-{seed}" for rate in ("1e-1", 0.2) for seed in (1, 3)
    ]
    assert seen[0] == ("rate=1e-1, model.width=10, seed-1: epoch 1 of 1", 1, 1)
    first, second = table["cells"]
    figure = first["figures"]["valid"]["accuracy"]
    assert figure["values"] == [21.0, 23.0]
    assert figure["mean"] == 22.0
    assert figure["deviation"] == pytest.approx(2**0.5)
    assert second["changes"] == {"rate": 0.2, "model.width": 10}
    assert json.loads((tmp_path / "out" / "grid.json").read_text()) == table
    assert (
        (tmp_path / "out" / "grid.md").read_text()
        == grid_table(table)
        == (
            "| cell | split | runs | accuracy |\n|---|---|---:|---:|\n"
            "| rate=1e-1, model.width=10 | valid | 2 | 22 ± 1.4 |\n"
            "| rate=1e-1, model.width=10 | test | 2 | 22 ± 1.4 |\n"
            "| rate=0.2, model.width=10 | valid | 2 | 32 ± 1.4 |\n"
            "| rate=0.2, model.width=10 | test | 2 | 32 ± 1.4 |\n"
        )
    )


def test_a_result_that_json_lacks_is_a_failed_run(tmp_path: Path) -> None:
    class Diverging(Trainer):
        def evaluate(self, folder: Path, data: Path, split: str) -> dict[str, Any]:
            return {**super().evaluate(folder, data, split), "loss": float("nan")}

    grid = write(tmp_path, "{recipe: known}")
    (cell,) = run_grid(grid, "d", tmp_path / "out", Diverging())["cells"]
    assert "results.valid.loss is nan, which JSON cannot hold" in cell["failures"]["seed-0"]

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    text = (tmp_path / "out" / "grid.json").read_text()
    assert json.loads(text, parse_constant=refuse)["cells"] == [cell]


def test_a_full_disk_ends_the_grid(tmp_path: Path) -> None:
    trainer = Trainer()
    grid = write(tmp_path, "{recipe: base.yaml, seeds: [1, 2], metrics: [accuracy]}")

    def train(*args: Any, **kwargs: Any) -> Path:
        trainer.trained.append("one")
        raise OSError(errno.ENOSPC, "No space left on device")

    trainer.train = train  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left"):
        run_grid(grid, "d", tmp_path / "out", trainer)
    assert trainer.trained == ["one"]


def test_values_that_json_lacks_are_refused_before_training(tmp_path: Path) -> None:
    trainer = Trainer()
    grid = write(tmp_path, "{recipe: known, values: {rate: [0.1, .inf]}}")
    with pytest.raises(ValueError, match=r"grid .*grid.yaml: values.rate.1 is inf, which JSON"):
        run_grid(grid, "d", tmp_path / "out", trainer)
    grid = write(tmp_path, "{recipe: base.yaml}", "{rate: .nan}")
    (cell,) = run_grid(grid, "d", tmp_path / "out", trainer)["cells"]
    assert "recipe: rate is nan" in cell["failures"]["seed-0"]
    assert trainer.trained == []


def test_second_call_skips_finished_runs(tmp_path: Path) -> None:
    grid = write(tmp_path, "{recipe: known, seeds: [0, 1], cells: {a: {}, b: {rate: 1}}}")
    table = run_grid(grid, "d", tmp_path / "out", Trainer(fails=(1,)))
    assert [cell["failures"] for cell in table["cells"]] == [
        {"seed-1": "FloatingPointError: loss is nan"}
    ] * 2
    assert "b, seed-1 failed: FloatingPointError: loss is nan" in grid_table(table)
    assert table["cells"][0]["figures"]["valid"]["accuracy"]["deviation"] is None
    trainer = Trainer()
    table = run_grid(grid, "d", tmp_path / "out", trainer)
    assert trainer.trained == ["a/seed-1", "b/seed-1"]
    assert trainer.evaluated == ["valid"] * 2
    assert table["cells"][0]["runs"] == ["seed-0", "seed-1"]
    assert not table["cells"][0]["failures"]
    assert list(table["cells"][0]["figures"]["valid"]) == ["accuracy", "examples"]


def test_without_changes_the_recipe_is_the_cell(tmp_path: Path) -> None:
    table = run_grid(write(tmp_path, "recipe: base.yaml"), "d", tmp_path / "out", Trainer())
    assert [cell["cell"] for cell in table["cells"]] == ["recipe"]
    assert (tmp_path / "out" / "recipe" / "seed-0" / "results.json").is_file()


def test_named_cells_combine_with_values(tmp_path: Path) -> None:
    grid = read_grid(
        write(tmp_path, "{recipe: r, cells: {a b: {rate: 1}, c: {}}, values: {epochs: [1, 2]}}")
    )
    assert [cell.folder for cell in list_cells(grid)] == [
        "a_b_epochs=1", "a_b_epochs=2", "c_epochs=1", "c_epochs=2",
    ]  # fmt: skip
    assert list_cells(grid)[1].changes == {"rate": 1, "epochs": 2}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{recipe: base.yaml, seed: 1}", r"grid .*grid.yaml has unknown keys \['seed'\]"),
        ("seeds: [1]", "recipe must be a file or a name, got ''"),
        ("{recipe: base.yaml, seeds: [1, 1]}", "seeds must be a list without repetition"),
        ("{recipe: base.yaml, splits: []}", r"splits must name at least one split, got \[\]"),
        ("{recipe: base.yaml, values: {rate: 1}}", "values must map names to lists"),
        (
            "{recipe: base.yaml, values: {rate: []}}",
            r"values: \['rate'\] must have at least one value each",
        ),
        ("{recipe: base.yaml, cells: [a]}", "cells must map names to dicts"),
        ("{recipe: base.yaml, cells: {a b: {}, a_b: {}}}", r"share the folders \['a_b'\]"),
        ("{recipe: base.yaml, cells: {a: {rat: 1}}}", r"cell a has unknown keys \['rat'\]"),
        ("{recipe: base.yaml, cells: {a: {epochs: 0}}}", "cell a: epochs must be positive"),
        (
            "{recipe: base.yaml, cells: {a: {rate.x: 0}}}",
            "cell a: 'rate.x': 'rate' is not a mapping",
        ),
        (
            "{recipe: base.yaml, cells: {a: {rate: 1}}, values: {rate: [2, 3]}}",
            "cell a: 'rate' would be set twice",
        ),
        (
            "{recipe: base.yaml, values: {model.width: [2], model: [{depth: 1}]}}",
            "'model.width' and 'model' would be set twice",
        ),
        (
            "{recipe: base.yaml, seeds: [1], cells: {a: {seed: 2}}}",
            "cell a: 'seed' would be set twice",
        ),
        (
            "{recipe: base.yaml, values: {rate: [1e-3, 0.001]}}",
            "cells 'rate=1e-3' and 'rate=0.001' are the same recipe",
        ),
        ("{recipe: base.yaml, cells: {a: {1: 2}}}", r"keys of a recipe must be words, got \[1\]"),
        ("{recipe: base.yaml, values: {1: [2]}}", r"keys of a recipe must be words, got \[1\]"),
        ("{recipe: base.yaml, cells: {..: {}}}", "cell '..' needs a name with letters or digits"),
        ("{recipe: base.yaml, seeds: [null, 0]}", r"seeds must be a list of ints, got \[None, 0\]"),
        ("{recipe: base.yaml, metrics: [1]}", r"metrics must be a list of strs, got \[1\]"),
    ],
)
def test_errors_name_the_key_before_anything_is_trained(
    tmp_path: Path, text: str, words: str
) -> None:
    trainer = Trainer()
    with pytest.raises(ValueError, match=words):
        run_grid(write(tmp_path, text), "d", tmp_path / "out", trainer)
    assert not trainer.trained
    assert not (tmp_path / "out").exists()


def test_a_cell_may_have_a_number_as_its_name(tmp_path: Path) -> None:
    cells = list_cells(read_grid(write(tmp_path, "{recipe: r, cells: {0: {}, 1: {rate: 1}}}")))
    assert [(cell.name, cell.folder) for cell in cells] == [("0", "0"), ("1", "1")]


def test_a_misspelt_metric_fails_and_loses_no_run(tmp_path: Path) -> None:
    trainer, output = Trainer(), tmp_path / "out"
    table = run_grid(write(tmp_path, "{recipe: known, metrics: [acc]}"), "d", output, trainer)
    assert table["cells"][0]["failures"] == {
        "seed-0": "ValueError: metrics ['acc'] are not among those of valid: "
        "['accuracy', 'examples', 'names', 'whole']"
    }
    grid = write(tmp_path, "{recipe: known, metrics: [accuracy]}")
    assert not run_grid(grid, "d", output, trainer)["cells"][0]["failures"]
    assert trainer.trained == ["recipe/seed-0"]


def test_results_on_other_data_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    grid = write(tmp_path, "recipe: base.yaml")
    for data in ("a", "a"):
        run_grid(grid, data, tmp_path / "out", Trainer())
    assert not caplog.records
    run_grid(grid, "b", tmp_path / "out", Trainer())
    assert "recipe/seed-0 has results on a, not on b" in caplog.text


def test_a_cell_leaves_the_base_recipe_as_it_is() -> None:
    base = Recipe(model={"width": 3})
    changed = cell_recipe(base, Cell("a", "a", {"model.depth": 2}), 5)
    assert (changed.model, changed.seed, base.model) == (
        {"width": 3, "depth": 2}, 5, {"width": 3},
    )  # fmt: skip
