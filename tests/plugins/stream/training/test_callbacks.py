"""The callbacks of a recipe in STREAM's training loop."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("torch_geometric")
pytest.importorskip("accelerate")
pytest.importorskip("timm")

from safetensors.torch import load_file

from evenfall.errors import CallbackError, UnknownNameError
from evenfall.runs import Callback, TrainingContext
from evenfall_stream.training import Recipe, run, train

SMALL = {"width": 8, "depth": 1, "groups": 8, "neighbors": 4, "head": [8]}
EPOCHS, STEPS = 3, 2  # 20 clouds in batches of 8


class Count(Callback):
    """Counts calls, and keeps a running sum of a weight and a tensor of its shape."""

    def __init__(self, refuses: int = 0) -> None:
        self.refuses = refuses
        self.state: dict[str, Any] = {"steps": [], "epochs": [], "losses": [], "prepared": 0}

    def prepare(self, model: Any) -> None:
        self.state["prepared"] += 1
        self.state["sum"] = torch.zeros_like(next(model.parameters()))

    def on_step_end(self, context: TrainingContext) -> None:
        self.state["steps"].append([context.step, context.total_steps, context.epoch])
        self.state["sum"] = self.state["sum"] + next(context.model.parameters()).detach()
        assert {id(p) for g in context.optimizer.param_groups for p in g["params"]} == {
            id(p) for p in context.model.parameters()
        }
        assert all("exp_avg" in context.optimizer.state[p] for p in context.model.parameters())
        assert context.averaged_model is not context.model
        assert not context.metrics

    def on_epoch_end(self, context: TrainingContext) -> None:
        self.state["epochs"].append([context.step, context.epoch])

    def on_evaluate(self, context: TrainingContext) -> None:
        assert context.folder.is_dir()
        assert 0 <= context.metrics["accuracy"] <= 1
        self.state["losses"].append(context.metrics["loss"])

    def counts_as_best(self) -> bool:
        return len(self.state["losses"]) > self.refuses

    def state_dict(self) -> dict[str, Any]:
        return self.state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert self.state["prepared"] == 1
        self.state = state


class Mask(Callback):
    """Keeps half of each matrix at zero: weights, gradients, moments and average."""

    def prepare(self, model: Any) -> None:
        self.masks = {}
        for name, parameter in model.named_parameters():
            if parameter.ndim == 2:
                mask = torch.ones_like(parameter)
                mask.view(-1)[::2] = 0
                self.masks[name] = mask
                parameter.data.mul_(mask)
                parameter.register_hook(lambda gradient, mask=mask: gradient * mask)

    def on_step_end(self, context: TrainingContext) -> None:
        parameters = dict(context.model.named_parameters())
        averaged = dict(context.averaged_model.named_parameters())
        for name, mask in self.masks.items():
            assert not (context.optimizer.state[parameters[name]]["exp_avg"] * (1 - mask)).any()
            parameters[name].data.mul_(mask)
            averaged[name].data.mul_(mask)


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch, shapes: type[Any]) -> None:
    monkeypatch.setitem(sys.modules, "callbacks_of_stream", sys.modules[__name__])


def recipe(*callbacks: Any) -> Recipe:
    return Recipe(
        dataset="shapes", model_options=SMALL, epochs=EPOCHS, batch_size=8, learning_rate=1e-2,
        ema_decay=0.9, callbacks=list(callbacks), seed=3,
    )  # fmt: skip


def state(output: Path) -> tuple[Any, torch.Tensor]:
    folder = output / f"checkpoint-{EPOCHS}"
    (plain,) = json.loads((folder / "callbacks.json").read_text())
    return plain, load_file(folder / "callbacks.safetensors")["0"]


def test_a_callback_counts_alike_in_a_killed_and_a_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = recipe("callbacks_of_stream:Count")
    train(choices, tmp_path, tmp_path / "whole")
    original, calls = run._Run._descend, []

    def descend(*args: Any) -> None:
        calls.append(1)
        if len(calls) == STEPS + 2:
            raise KeyboardInterrupt
        original(*args)

    with monkeypatch.context() as patch:
        patch.setattr(run._Run, "_descend", descend)
        with pytest.raises(KeyboardInterrupt):
            train(choices, tmp_path, tmp_path / "broken")
    train(choices, tmp_path, tmp_path / "broken", resume=True)
    (whole, sums), (broken, again) = state(tmp_path / "whole"), state(tmp_path / "broken")
    assert whole == broken
    assert torch.equal(sums, again)
    total = STEPS * EPOCHS
    assert whole["steps"] == [[s, total, (s - 1) // STEPS + 1] for s in range(1, total + 1)]
    assert whole["epochs"] == [[STEPS * e, e] for e in (1, 2, 3)]
    assert len(whole["losses"]) == 3
    a, b = (load_file(tmp_path / n / "best" / "model.safetensors") for n in ("whole", "broken"))
    assert all(torch.equal(a[name], b[name]) for name in a)


def test_a_callback_that_only_watches_changes_nothing(tmp_path: Path) -> None:
    best = [
        train(choices, tmp_path, tmp_path / name)
        for name, choices in (("a", recipe()), ("b", recipe("callbacks_of_stream:Count")))
    ]
    a, b = (load_file(folder / "model.safetensors") for folder in best)
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not (tmp_path / "a" / f"checkpoint-{EPOCHS}" / "callbacks.json").exists()


def test_the_best_model_is_one_that_all_callbacks_accept(tmp_path: Path) -> None:
    count = "callbacks_of_stream:Count"
    train(recipe({count: {"refuses": 2}}, count), tmp_path, tmp_path / "late")
    progress = json.loads(
        (tmp_path / "late" / f"checkpoint-{EPOCHS}" / "progress.json").read_text()
    )
    assert progress["best_epoch"] == EPOCHS
    with pytest.raises(
        CallbackError, match=r"no best model: .* in the last one for \['callbacks_of_stre"
    ):
        train(recipe({count: {"refuses": 9}}, count), tmp_path, tmp_path / "never")
    assert not (tmp_path / "never" / "best").exists()


def test_a_mask_holds_for_weights_moments_and_average(tmp_path: Path) -> None:
    best = train(recipe("callbacks_of_stream:Mask"), tmp_path, tmp_path / "run")
    for name, weight in load_file(best / "model.safetensors").items():
        if weight.ndim == 2:
            assert not weight.view(-1)[::2].any(), name
            assert weight.any(), name


def test_an_unknown_callback_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="unknown callback 'prune'"):
        train(recipe("prune"), tmp_path, tmp_path / "run")
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="callbacks must be a list, got 'prune'"):
        Recipe(callbacks="prune")  # type: ignore[arg-type]


def test_more_epochs_extend_a_run(tmp_path: Path) -> None:
    choices = recipe("callbacks_of_stream:Count")
    train(replace(choices, epochs=1), tmp_path, tmp_path / "run")
    train(choices, tmp_path, tmp_path / "run", resume=True)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 1, 2, 3]
    assert lines[1] == {"epoch": 1, "extended": [1, 3]}
    assert lines[-1]["learning_rate"] < lines[2]["learning_rate"]
    assert "epochs: 3" in (tmp_path / "run" / "recipe.yaml").read_text()
    assert [step[1] for step in state(tmp_path / "run")[0]["steps"]] == [2, 2, 6, 6, 6, 6]


def test_a_run_that_failed_in_its_first_epoch_may_change_its_recipe(tmp_path: Path) -> None:
    choices = recipe()
    wild = replace(choices, optimizer="sgd", learning_rate=1e30, max_grad_norm=None)
    with pytest.raises(
        (FloatingPointError, ValueError), match=r"loss must be finite, got nan|must be finite"
    ):
        train(wild, tmp_path, tmp_path / "run")
    assert train(choices, tmp_path, tmp_path / "run").is_dir()
    lines = (tmp_path / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
