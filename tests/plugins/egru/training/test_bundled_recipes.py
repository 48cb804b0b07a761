"""The bundled recipes: the published sizes, and a few steps of each with small models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from evenfall_egru import EgruForCausalLM
from evenfall_egru.sequences import mnist
from evenfall_egru.training import (
    bundled_recipes,
    load_classification_recipe,
    load_recipe,
    train,
    train_classifier,
)

SIZES = {"ptb-1350": 10_000, "ptb-2000": 10_000, "wikitext2-1350": 33_278}
PARAMETERS = {"ptb-1350": 31_699_150, "wikitext2-1350": 49_180_928}
"""Those of the published models."""


def test_the_bundled_recipes_have_names() -> None:
    assert set(bundled_recipes("train")) == set(SIZES)
    assert set(bundled_recipes("classify")) == {"nmnist-frames", "smnist", "smnist-4"}
    with pytest.raises(FileNotFoundError, match="ptb not found; bundled recipes: ptb-1350, ptb-20"):
        load_recipe("ptb")
    assert load_recipe("ptb-1350.yaml") == load_recipe("ptb-1350")


@pytest.mark.parametrize("name", list(SIZES))
def test_the_models_have_the_published_number_of_parameters(name: str) -> None:
    with torch.device("meta"):
        model = EgruForCausalLM(load_recipe(name).config(vocab_size=SIZES[name]))
    matrices = sum(p.numel() for n, p in model.named_parameters() if n.endswith("kernel"))
    if name in PARAMETERS:
        assert model.num_parameters() == PARAMETERS[name]
        assert matrices == 24_165_000
    else:
        assert matrices == 46_687_500  # the paper gives 45 million


@pytest.mark.parametrize("name", list(SIZES))
def test_a_few_steps_of_a_language_model(corpus: Path, tmp_path: Path, name: str) -> None:
    recipe, text = load_recipe(name), (corpus / "tiny.train.txt").read_text()
    (tmp_path / "ptb.train.txt").write_text(text * (1 + 180 * recipe.batch_size // 1320))
    (tmp_path / "ptb.valid.txt").write_text(text[:1000])
    small = {**recipe.model, "embedding_size": 6, "hidden_sizes": [10, 10, 6]}
    recipe = replace(recipe, model=small, epochs=1.5, cosine_start=0.5)
    best = train(recipe, tmp_path, tmp_path / "run")
    assert (best / "model.safetensors").is_file()
    log = (tmp_path / "run" / "log.jsonl").read_text()
    assert "eval_perplexity" in log
    assert "eval_backward_sparsity" in log


@pytest.mark.parametrize(("name", "units"), [("smnist", 590), ("smnist-4", 128)])
def test_a_few_steps_of_sequential_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, units: int
) -> None:
    random, count = np.random.default_rng(0), 150
    for part, shape in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
        header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
        values = random.integers(0, 10, shape, np.uint8).tobytes()
        (tmp_path / f"train-{part}-ubyte").write_bytes(header + values)
    monkeypatch.setattr(mnist, "_VALID", 20)
    recipe = load_classification_recipe(name)
    assert recipe.model["hidden_sizes"] == [units]
    small: dict[str, Any] = {**recipe.model, "hidden_sizes": [6]}
    recipe = replace(recipe, model=small, epochs=2, warmup_steps=1)
    train_classifier(recipe, tmp_path, tmp_path / "run")
    assert "eval_accuracy" in (tmp_path / "run" / "log.jsonl").read_text()
