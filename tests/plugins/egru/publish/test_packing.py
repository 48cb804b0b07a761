"""What packing reads of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from evenfall_egru import EgruConfig, EgruForCausalLM
from evenfall_egru.publish.packing import training_record
from evenfall_egru.publish.pruning import pruning_of

LOG = [
    {"step": 10, "epoch": 0.5, "eval_perplexity": 50.0},
    {"step": 20, "epoch": 1.0, "eval_perplexity": None},
    {"step": 30, "epoch": 1.5, "eval_perplexity": 60.0},
    {"step": 30, "epoch": 1.5, "train_loss": 4.0},
]


def test_the_best_step_is_one_that_callbacks_accepted(tmp_path: Path) -> None:
    """Pruning rejects evaluations until the sparsity is reached; the log has them, too."""
    (tmp_path / "log.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LOG))
    read = {"recipe": {"seed": 1}, "runs": 1, "steps": 30, "epochs_run": 1.5}
    found = training_record(tmp_path / "best", {"seed": 1}, "eval_perplexity", min)
    assert found == {**read, "best_step": 10}  # as far as the log says
    for step, best in ((9, 10), (30, 30)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        (folder / "trainer_state.json").write_text(json.dumps({"best_global_step": best}))
    found = training_record(tmp_path / "best", {"seed": 1}, "eval_perplexity", min)
    assert found == {**read, "best_step": 30}


def test_a_pruned_model_without_its_dense_one_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Outside of a checkout, the registered model is not there to compare with."""
    model = EgruForCausalLM(EgruConfig(vocab_size=5, embedding_size=4, hidden_sizes=[4]))
    with torch.no_grad():
        model.model.layers[0].kernel[:2] = 0
    monkeypatch.setattr("evenfall.checkpoints._places", lambda folder: iter([tmp_path / "absent"]))
    monkeypatch.delenv("EVENFALL_CHECKPOINTS", raising=False)
    found = pruning_of(model, "egru-ptb-small")["pruning"]
    assert found["removed"] == 0.25
    assert "dense" not in found


def test_a_damaged_log_is_named(tmp_path: Path) -> None:
    for content in ("", '{"step": 10}\n{"st'):
        (tmp_path / "log.jsonl").write_text(content)
        with pytest.raises(ValueError, match=r"log.jsonl cannot be read"):
            training_record(tmp_path / "best", {}, "eval_perplexity", min)
