"""The published STREAM folders: their cards are made from their results, and they score those."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch_geometric")
pytest.importorskip("timm")

from evenfall_stream.models.loading import load_checkpoint
from evenfall_stream.publish.card import make_card
from evenfall_stream.training import checkpoint_recipe
from evenfall_stream.training.evaluation import evaluate_recipe

CARDS = Path(__file__).parents[2] / "hub_cards"
NAMES = {
    "stream-modelnet10-small": "modelnet10_1024pts",
    "stream-nmnist-small": "nmnist_small",
    "stream-digits-small": "fsdd/recordings.zip",
}


def _results(name: str) -> dict[str, Any]:
    return json.loads((CARDS / name / "results.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_its_card_is_made_from_its_results(name: str) -> None:
    card = (CARDS / name / "README.md").read_text(encoding="utf-8")
    assert card.strip() == str(make_card(_results(name))).strip()


def test_folds_of_different_sizes_are_a_range_in_the_card() -> None:
    card = str(make_card(_results("stream-modelnet10-small")))
    assert card.count("| valid | 398 to 400 | 0, 1, 2, 3, 4 |") == 3
    assert card.count("| test | 908 | 0, 1, 2, 3, 4 |") == 3


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_stay_small(name: str) -> None:
    assert (CARDS / name / "model.safetensors").stat().st_size <= 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_published_run_is_the_best_on_validation(name: str) -> None:
    runs = [
        row
        for row in _results(name)["evaluations"]
        if row["split"] == "valid" and row["model"] == "this model"
    ]
    published = next(row for row in runs if row["published"])
    assert len(runs) >= 3
    assert published["accuracy"] == max(row["accuracy"] for row in runs)


SPLITS = [
    *((name, split) for name in ("stream-modelnet10-small", "stream-nmnist-small")
      for split in ("valid", "test")),
    ("stream-digits-small", "test"),  # of which one split takes as long as all others
]  # fmt: skip


@pytest.mark.parametrize(("name", "split"), SPLITS)
def test_accuracy_is_that_of_the_card(name: str, split: str, data_dir: Path) -> None:
    folder = CARDS / name
    published = next(
        row for row in _results(name)["evaluations"] if row["published"] and row["split"] == split
    )
    result = evaluate_recipe(
        load_checkpoint(folder, "cpu"), checkpoint_recipe(folder), data_dir / NAMES[name], split
    )
    assert result["examples"] == published["examples"]
    # Another processor may round one example to the other side of a tie.
    assert result["accuracy"] == pytest.approx(published["accuracy"], abs=1.01 / result["examples"])


@pytest.mark.parametrize(
    ("name", "polarities", "columns"),
    [
        ("stream-modelnet10-small", 0, 3),
        ("stream-nmnist-small", 2, 3),
        ("stream-digits-small", 1, 2),
    ],
)
def test_automodel_loads_the_same_weights(name: str, polarities: int, columns: int) -> None:
    import torch

    transformers = pytest.importorskip("transformers")
    import evenfall_stream.huggingface  # noqa: F401  # registers the models

    torch.manual_seed(0)
    pos = torch.rand(500, columns) * 30
    pos[:, 0] = pos[:, 0].sort().values
    x = {"x": torch.randint(0, polarities, (500, 1)).float()} if polarities else {}
    own = load_checkpoint(CARDS / name, "cpu")
    host = transformers.AutoModel.from_pretrained(CARDS / name)
    with torch.no_grad():
        torch.testing.assert_close(host.eval()(pos=pos, **x).logits, own(pos=pos, **x))
