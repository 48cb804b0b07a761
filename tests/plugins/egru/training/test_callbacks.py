"""A recipe's callbacks in Trainer's loop: their context, their state, their veto."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file
from torch.optim.optimizer import register_optimizer_step_pre_hook

from evenfall.errors import CallbackError, UnknownNameError
from evenfall.runs import Callback, TrainingContext
from evenfall_egru.training import Recipe, train
from evenfall_egru.training.trainer import EgruTrainer

EPOCHS, STEPS = 2, 12  # 1320 tokens in 8 streams of windows of 12
COUNT, MASK = "callbacks_of_egru:Count", "callbacks_of_egru:Mask"


class Count(Callback):
    """Counts calls, and sums a weight over the steps."""

    def __init__(self, accepts: tuple[int, ...] | None = None) -> None:
        self.accepts = accepts
        self.state: dict[str, Any] = {"steps": [], "epochs": [], "losses": [], "prepared": 0}

    def prepare(self, model: Any) -> None:
        self.state["prepared"] += 1
        self.state["sum"] = torch.zeros_like(next(model.parameters()))

    def on_step_end(self, context: TrainingContext) -> None:
        self.state["steps"].append([context.step, context.total_steps, context.epoch])
        self.state["sum"] = self.state["sum"] + next(context.model.parameters()).detach()
        assert isinstance(context.optimizer, torch.optim.Optimizer)
        assert all("exp_avg" in context.optimizer.state[p] for p in context.model.parameters())
        assert context.averaged_model is None
        assert not context.metrics

    def on_epoch_end(self, context: TrainingContext) -> None:
        self.state["epochs"].append([context.step, context.epoch])

    def on_evaluate(self, context: TrainingContext) -> None:
        assert context.folder.is_dir()
        assert {"loss", "perplexity"} <= set(context.metrics)
        self.state["losses"].append(context.metrics["loss"])

    def counts_as_best(self) -> bool:
        return self.accepts is None or len(self.state["losses"]) in self.accepts

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.state["prepared"] == 1
        self.state = state


class Mask(Callback):
    """Keeps half of each recurrent matrix at zero: weights, gradients and moments."""

    def prepare(self, model: Any) -> None:
        self.masks = {}
        for name, parameter in model.named_parameters():
            if name.endswith("recurrent_kernel"):
                mask = torch.ones_like(parameter)
                mask.view(-1)[::2] = 0
                self.masks[name] = mask
                parameter.data.mul_(mask)
                parameter.register_hook(lambda gradient, mask=mask: gradient * mask)

    def on_step_end(self, context: TrainingContext) -> None:
        named = dict(context.model.named_parameters())
        for name, mask in self.masks.items():
            assert not (context.optimizer.state[named[name]]["exp_avg"] * (1 - mask)).any()
            named[name].data.mul_(mask)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "callbacks_of_egru", sys.modules[__name__])


def recipe(*callbacks: Any) -> Recipe:
    return Recipe(
        model={"embedding_size": 8, "hidden_sizes": [12, 8]}, epochs=EPOCHS, batch_size=8,
        window=12, learning_rate=1e-2, callbacks=list(callbacks), seed=5,
    )  # fmt: skip


def log(output: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]


def state(output: Path, step: int = EPOCHS * STEPS) -> tuple[Any, torch.Tensor]:
    folder = output / f"checkpoint-{step}"
    (plain,) = json.loads((folder / "callbacks.json").read_text())
    return plain, load_file(folder / "callbacks.safetensors")["0"]


# Save after steps, one of which ends an epoch or none does; save after epochs.
@pytest.mark.parametrize(("save_steps", "killed_at"), [(4, 15), (5, 18), (None, 14)])
def test_a_callback_counts_alike_in_a_killed_and_a_whole_run(
    corpus: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    save_steps: int | None,
    killed_at: int,
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe(COUNT), corpus, whole, save_steps=save_steps)
    original, calls = EgruTrainer.training_step, []

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == killed_at:
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(EgruTrainer, "training_step", training_step)
        with pytest.raises(KeyboardInterrupt):
            train(recipe(COUNT), corpus, broken, save_steps=save_steps)
    train(recipe(COUNT), corpus, broken, save_steps=save_steps, resume=True)
    (one, sums), (other, again) = state(whole), state(broken)
    assert one == other
    assert torch.equal(sums, again)
    total = EPOCHS * STEPS
    assert one["steps"] == [[s, total, (s - 1) // STEPS + 1] for s in range(1, total + 1)]
    assert one["epochs"] == [[12, 1], [24, 2]]
    assert len(one["losses"]) == (2 if save_steps is None else 6)
    a, b = (load_file(folder / "best" / "model.safetensors") for folder in (whole, broken))
    assert all(torch.equal(a[name], b[name]) for name in a)
    eval_steps = [[line["step"] for line in log(f) if "eval_loss" in line] for f in (whole, broken)]
    assert eval_steps[0] == eval_steps[1]


def test_the_best_model_is_one_that_all_callbacks_accept(corpus: Path, tmp_path: Path) -> None:
    """Only the first evaluation counts; the folder moves before the run is resumed."""
    first = recipe({COUNT: {"accepts": [1]}}, MASK)
    train(first, corpus, tmp_path / "run")
    (tmp_path / "run").rename(tmp_path / "moved")
    best = train(first, corpus, tmp_path / "moved", resume=True)
    best_weights, want = (
        load_file(folder / "model.safetensors")
        for folder in (best, tmp_path / "moved" / f"checkpoint-{STEPS}")
    )
    assert all(torch.equal(best_weights[name], want[name]) for name in want)
    masked = [weight for name, weight in best_weights.items() if name.endswith("recurrent_kernel")]
    assert len(masked) == 2
    assert all(w.any() and not w.view(-1)[::2].any() for w in masked)
    with pytest.raises(CallbackError, match=r"no best model: .* callbacks \['callbacks_of_egru:C"):
        train(recipe({COUNT: {"accepts": []}}), corpus, tmp_path / "never")
    assert not (tmp_path / "never" / "best").exists()


def test_a_callback_that_only_watches_changes_nothing(corpus: Path, tmp_path: Path) -> None:
    best = [
        train(replace(choices, epochs=1), corpus, tmp_path / name)
        for name, choices in (("a", recipe()), ("b", recipe(COUNT)))
    ]
    a, b = (load_file(folder / "model.safetensors") for folder in best)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (tmp_path / "a" / f"checkpoint-{STEPS}" / "callbacks.json").exists()


def test_an_unknown_callback_leaves_no_folder(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown callback 'prune'"):
        train(recipe("prune"), corpus, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="callbacks must be a list, got 'prune'"):
        Recipe(callbacks="prune")  # type: ignore[arg-type]


def test_a_run_is_resumed_by_its_own_recipe_or_extended(corpus: Path, tmp_path: Path) -> None:
    output, short = tmp_path / "run", replace(recipe(COUNT), epochs=1)
    seen: list[tuple[str, int, int]] = []
    train(short, corpus, output)
    with pytest.raises(ValueError, match=r"whose recipe differs in \['window', 'seed'\]"):
        train(replace(short, window=6, seed=1), corpus, output, resume=True)
    train(recipe(COUNT), corpus, output, resume=True, progress=lambda *step: seen.append(step))
    assert {"step": STEPS, "extended": [1, 2]} in log(output)
    assert [line["step"] for line in log(output) if "eval_loss" in line] == [12, 24]
    assert [step[1] for step in state(output)[0]["steps"]] == [12] * 12 + [24] * 12
    assert seen == [("epoch 2 of 2", step, STEPS) for step in range(1, STEPS + 1)]
    assert "epochs: 2" in (output / "recipe.yaml").read_text()


def test_an_extended_run_follows_the_longer_schedule_from_its_first_step(
    corpus: Path, tmp_path: Path
) -> None:
    rates: list[float] = []

    def note(optimizer: Any, *_: Any) -> None:
        rates.append(optimizer.param_groups[0]["lr"])

    hook = register_optimizer_step_pre_hook(note)
    try:
        train(replace(recipe(), epochs=1), corpus, tmp_path / "run")
        train(recipe(), corpus, tmp_path / "run", resume=True)
    finally:
        hook.remove()
    steps = range(STEPS, EPOCHS * STEPS)
    want = [0.005 * (1 + math.cos(math.pi * step / (EPOCHS * STEPS))) for step in steps]
    assert rates[STEPS:] == pytest.approx(want)


def test_a_run_that_failed_in_its_first_epoch_may_change_its_recipe(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(EgruTrainer, "compute_loss", fail)
        with pytest.raises(RuntimeError, match="out of memory"):
            train(recipe(), corpus, tmp_path / "run")
    smaller = replace(recipe(), epochs=1, window=10)
    assert train(smaller, corpus, tmp_path / "run").is_dir()
    assert "window: 10" in (tmp_path / "run" / "recipe.yaml").read_text()
