"""The pruned checkpoint has the blocks that its card says, and computes the same compressed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from evenfall import registry
from evenfall_egru.publish.card import make_card

FOLDER = Path(__file__).parents[2] / "hub_cards" / "egru-ptb-sparse"
UNITS = 16


@pytest.fixture(scope="module")
def loaded() -> tuple[Any, Any]:
    return registry.checkpoints.get("egru-ptb-sparse").load_folder(FOLDER, "cpu")


def results() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "results.json").read_text())
    return found


def test_its_card_is_made_from_its_results() -> None:
    card = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert card.strip() == str(make_card(results())).strip()
    assert "| egru-ptb-small | 102.80 | 95.99 |" in card


def test_whole_blocks_of_one_input_and_16_units_are_removed(loaded: Any) -> None:
    total = removed = 0
    for layer in loaded[0].model.layers:
        for weight in (layer.kernel, layer.recurrent_kernel):
            gates = weight.detach().reshape(len(weight), 3, layer.units // UNITS, UNITS)
            is_empty = (gates == 0).all(-1)
            assert torch.equal((gates == 0).any(-1), is_empty)
            total, removed = total + is_empty.numel(), removed + int(is_empty.sum())
    assert removed == round(0.8 * total)
    assert removed / total == pytest.approx(results()["pruning"]["removed"], abs=1e-4)


def test_it_computes_the_same_compressed(loaded: Any) -> None:
    pytest.importorskip("evenfall_sparsity")
    from evenfall_sparsity import compress

    model, tokenizer = loaded
    ids = tokenizer("the company said it", return_tensors="pt").input_ids
    with torch.no_grad():
        want = model(ids).logits
        text = model.generate(ids, max_new_tokens=20, do_sample=False)
        compress(model)
        torch.testing.assert_close(model(ids).logits, want, atol=1e-4, rtol=1e-4)
        assert torch.equal(model.generate(ids, max_new_tokens=20, do_sample=False), text)
