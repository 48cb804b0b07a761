"""The training methods in transformers' Trainer, with checkpoints and resuming."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("accelerate")

from evenfall.runs import Callback
from evenfall_sparsity import GradualPruning
from evenfall_sparsity.training.trainer import TrainerSparsity


@pytest.fixture
def make_trainer(tmp_path: Path) -> Any:
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=8, tie_word_embeddings=True,
    )  # fmt: skip
    data = [
        {"input_ids": torch.arange(i, i + 6), "labels": torch.arange(i, i + 6)} for i in range(8)
    ]

    def make(steps: int, *callbacks: Any, **options: Any) -> Any:
        torch.manual_seed(0)
        return transformers.Trainer(
            transformers.LlamaForCausalLM(config),
            transformers.TrainingArguments(
                str(tmp_path), max_steps=steps, save_steps=4, use_cpu=True, report_to="none",
                disable_tqdm=True, per_device_train_batch_size=2, learning_rate=0.01,
                lr_scheduler_type="constant", **options,
            ),
            train_dataset=data,
            eval_dataset=data[:2],
            callbacks=[*callbacks],
        )  # fmt: skip

    return make


def test_model_is_pruned_saved_and_resumed(make_trainer: Any, tmp_path: Path) -> None:
    def callback() -> Any:
        return TrainerSparsity(GradualPruning(0.75, begin=0, end=6, every=2))

    trainer = make_trainer(8, callback())
    trainer.train()
    weights = dict(trainer.model.named_parameters())
    kernels = {name: w for name, w in weights.items() if "proj" in name}
    total = sum(w.numel() for w in kernels.values())
    assert sum(int((w == 0).sum()) for w in kernels.values()) == round(0.75 * total)

    resumed = make_trainer(8, callback())
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    for name, weight in resumed.model.named_parameters():
        assert torch.equal(weight, weights[name]), name


def test_checkpoint_without_states_is_an_error(make_trainer: Any, tmp_path: Path) -> None:
    make_trainer(4).train()
    trainer = make_trainer(8, TrainerSparsity(GradualPruning(0.75)))
    with pytest.raises(ValueError, match=r"has no callbacks.json: it was saved without"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_states_of_another_number_of_callbacks_are_an_error(
    make_trainer: Any, tmp_path: Path
) -> None:
    make_trainer(4, TrainerSparsity(Shifting())).train()
    trainer = make_trainer(8, TrainerSparsity(Shifting(), Shifting()))
    with pytest.raises(ValueError, match="has states of 1 callbacks, but the run has 2"):
        trainer.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))


def test_the_best_model_has_its_sparsity(make_trainer: Any) -> None:
    trainer = make_trainer(
        12, TrainerSparsity(GradualPruning(0.98, begin=0.99, end=1.0)), eval_strategy="steps",
        eval_steps=4, load_best_model_at_end=True, metric_for_best_model="rank",
    )  # fmt: skip
    ranks = itertools.count()
    trainer.compute_metrics = lambda _: {"rank": -next(ranks)}  # each evaluation is worse
    trainer.train()
    assert trainer.state.best_metric == -2
    weights = [w for name, w in trainer.model.named_parameters() if "proj" in name]
    kept = sum(int((w != 0).sum()) for w in weights)
    assert kept == round(0.02 * sum(w.numel() for w in weights))


class Listening(Callback):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    def on_step_end(self, context: Any) -> None:
        self.heard.append(("step", context.step, context.epoch))

    def on_epoch_end(self, context: Any) -> None:
        self.heard.append(("epoch", context.step, context.epoch))

    def on_evaluate(self, context: Any) -> None:
        self.heard.append(("evaluate", context.step, context.epoch, "loss" in context.metrics))


def test_callbacks_hear_of_steps_epochs_and_evaluations(make_trainer: Any) -> None:
    listening = Listening()
    make_trainer(
        5, TrainerSparsity(listening), eval_strategy="epoch", save_strategy="no"
    ).train()  # four steps are an epoch
    assert listening.heard == [
        *(("step", step, 1) for step in (1, 2, 3, 4)),
        ("epoch", 4, 1), ("evaluate", 4, 1, True),
        ("step", 5, 2), ("epoch", 5, 2), ("evaluate", 5, 2, True),
    ]  # fmt: skip


def test_only_callbacks_are_taken() -> None:
    with pytest.raises(TypeError, match=r"must be evenfall.runs.Callback, got 3"):
        TrainerSparsity(3)


class Shifting(Callback):
    """Changes all weights before the training, as reordering does."""

    def prepare(self, model: Any) -> None:
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(1)


def test_resumed_model_is_not_changed_by_what_prepares_it(
    make_trainer: Any, tmp_path: Path
) -> None:
    trainer = make_trainer(8, TrainerSparsity(Shifting()))
    trainer.train()
    resumed = make_trainer(8, TrainerSparsity(Shifting()))
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    want = dict(trainer.model.named_parameters())
    for name, weight in resumed.model.named_parameters():
        assert torch.equal(weight, want[name]), name
