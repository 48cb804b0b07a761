"""Whole runs on a tiny corpus: training, resuming, and two processes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from transformers import AutoModelForCausalLM, AutoTokenizer

from evenfall.corpora import read_split
from evenfall.runs import RunFolder
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.text.encoding import encode
from evenfall_egru.training import Recipe, dump_recipe, load_recipe, run, train
from evenfall_egru.training.recipe_trainer import RecipeTrainer
from evenfall_egru.training.trainer import EgruTrainer, checkpoint_files

NOISE = {"hidden_dropout": 0.1, "word_dropout": 0.1, "dropconnect": 0.2, "zoneout": 0.1}
STEPS_AN_EPOCH = 12  # 1320 tokens in 8 streams of windows of 12


def recipe(epochs: int = 2, learning_rate: float = 1e-2, **model: Any) -> Recipe:
    model = {"embedding_size": 12, "hidden_sizes": [20, 12], **model}
    return Recipe(
        model=model, epochs=epochs, batch_size=8, window=12, learning_rate=learning_rate, seed=5
    )


def log(output: Path, key: str) -> dict[int, float]:
    """Step -> its last logged value."""
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return {line["step"]: line[key] for line in lines if key in line}


@pytest.fixture
def every() -> int:
    """Steps from a line of the log to the next."""
    return 1


@pytest.fixture
def _every_step(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Log the loss of each step, or of every few."""
    original = run._arguments

    def arguments(*args: Any) -> Any:
        result_arguments = original(*args)
        result_arguments.logging_steps = every
        return result_arguments

    monkeypatch.setattr(run, "_arguments", arguments)


@pytest.mark.usefixtures("_every_step")
def test_loss_falls_and_the_best_model_is_kept(corpus: Path, tmp_path: Path) -> None:
    settings = recipe(epochs=6, learning_rate=4e-2)
    best = train(settings, corpus, tmp_path / "run")
    losses = log(tmp_path / "run", "loss")
    assert sorted(losses) == list(range(1, 6 * STEPS_AN_EPOCH + 1))
    assert losses[72] < 0.6 * losses[1]

    perplexities = log(tmp_path / "run", "eval_perplexity")
    assert sorted(perplexities) == [12, 24, 36, 48, 60, 72]
    model = AutoModelForCausalLM.from_pretrained(best)
    tokenizer = AutoTokenizer.from_pretrained(best)
    valid = encode(tokenizer, read_split(corpus, "valid"))
    result = evaluate_tokens(model, valid, batch_size=16)
    assert result["perplexity"] == pytest.approx(min(perplexities.values()), rel=1e-5)
    assert load_recipe(best / "recipe.yaml") == settings
    assert model.config.eos_token_id == tokenizer.convert_tokens_to_ids("<eos>")
    assert not list(best.glob("*.bin"))
    assert list(best.glob("*.safetensors"))


@pytest.mark.usefixtures("_every_step")
def test_the_loss_is_the_mean_over_all_tokens(corpus: Path, tmp_path: Path) -> None:
    """The first logged loss is that of the first window under the initial weights."""
    losses_by_hand: list[float] = []
    original = EgruTrainer.compute_loss

    def compute_loss(self: Any, model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        if not losses_by_hand:
            logits = model(inputs["input_ids"]).logits.flatten(0, 1)
            targets = inputs["labels"].flatten()
            losses_by_hand.append(
                float(torch.nn.functional.cross_entropy(logits, targets).detach())
            )
        return original(self, model, inputs, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EgruTrainer, "compute_loss", compute_loss)
        train(recipe(epochs=1), corpus, tmp_path / "run")
    assert log(tmp_path / "run", "loss")[1] == pytest.approx(losses_by_hand[0], rel=1e-4)


class Killed(BaseException):
    pass


# Stop within the first epoch, right after an epoch, and within a later one.
@pytest.mark.usefixtures("_every_step")
@pytest.mark.parametrize(
    ("save_steps", "killed_at", "every"), [(4, 7, 1), (None, 13, 5), (5, 18, 1)]
)
def test_a_resumed_run_goes_on_as_if_never_stopped(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, save_steps: int, killed_at: int
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(recipe(**NOISE), corpus, whole, save_steps=save_steps)

    original, calls = EgruTrainer.training_step, []

    def training_step(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        if len(calls) == killed_at + 1:
            raise Killed
        return original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(EgruTrainer, "training_step", training_step)
        with pytest.raises(Killed):
            train(recipe(**NOISE), corpus, broken, save_steps=save_steps)
    best = train(recipe(**NOISE), corpus, broken, save_steps=save_steps, resume=True)

    for key in ("loss", "eval_perplexity", "eval_activity", "train_loss"):
        want, got = log(whole, key), log(broken, key)
        assert sorted(got) == sorted(want)
        for step, value in want.items():
            assert got[step] == pytest.approx(value, abs=1e-6), f"{key} at step {step}"
    for one, other in zip(
        AutoModelForCausalLM.from_pretrained(best).parameters(),
        AutoModelForCausalLM.from_pretrained(whole / "best").parameters(),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-6)
    lines = (broken / "log.jsonl").read_text()
    train(recipe(**NOISE), corpus, broken, save_steps=save_steps, resume=True)
    assert (broken / "log.jsonl").read_text() == lines  # there was nothing left to do


@pytest.mark.parametrize("loss", [float("nan"), 800.0])
def test_a_run_that_diverges_says_so(corpus: Path, tmp_path: Path, loss: float) -> None:
    """Also where the loss is finite and the perplexity, e^800, is not."""

    def evaluate(*args: Any, **kwargs: Any) -> dict[str, Any]:
        nothing = {"mean_activity": 0.0, "backward_sparsity": None}
        perplexity = loss if math.isnan(loss) else math.inf
        return {"loss": loss, "perplexity": perplexity, **nothing}

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evenfall_egru.training.trainer.evaluate_tokens", evaluate)
        with pytest.raises(ValueError, match="no best model: the training diverged, the last loss"):
            train(recipe(epochs=0.1), corpus, tmp_path / "run")


def test_a_checkpoint_has_the_random_state_of_every_kind_of_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An XPU, which this machine need not have, as well as CUDA devices."""
    state, loaded = torch.arange(4, dtype=torch.uint8), []
    for name, value in (
        ("is_available", lambda: True),
        ("get_rng_state_all", lambda: [state]),
        ("set_rng_state_all", loaded.extend),
    ):
        monkeypatch.setattr(torch.xpu, name, value)
    trainer: Any = SimpleNamespace(
        _tr_loss=torch.zeros(()), _total_loss_scalar=0.0, _globalstep_last_logged=0,
        _rng_name=lambda: "rng-0", is_world_process_zero=lambda: False,
        args=SimpleNamespace(device="cpu"),
    )  # fmt: skip
    RecipeTrainer._save_rng_state(trainer, str(tmp_path))
    RecipeTrainer._load_rng_state(trainer, str(tmp_path))
    assert torch.equal(torch.stack(loaded), state[None])


def test_the_warm_up_is_shorter_than_the_run(corpus: Path, tmp_path: Path) -> None:
    settings = replace(recipe(epochs=1), warmup_steps=13)
    with pytest.raises(ValueError, match=r"warmup_steps must be at most the 12 steps .* got 13"):
        train(settings, corpus, tmp_path / "run")


def test_the_key_of_an_initial_checkpoint_is_named(corpus: Path, tmp_path: Path) -> None:
    settings = replace(recipe(epochs=1), initial_checkpoint=str(tmp_path))
    with pytest.raises(ValueError, match=r"^initial_checkpoint: checkpoint .* cannot be loaded"):
        train(settings, corpus, tmp_path / "run")


def test_saving_by_steps_also_saves_each_epoch(corpus: Path, tmp_path: Path) -> None:
    train(recipe(), corpus, tmp_path / "run", save_steps=5)
    assert sorted(log(tmp_path / "run", "eval_perplexity")) == [5, 10, 12, 15, 20, 24]


def test_a_run_is_not_written_over(corpus: Path, tmp_path: Path) -> None:
    train(recipe(epochs=1), corpus, tmp_path / "run")
    before = (tmp_path / "run" / "log.jsonl").read_text()
    with pytest.raises(FileExistsError, match="run already contains a run; use --resume"):
        train(recipe(epochs=1), corpus, tmp_path / "run")
    assert (tmp_path / "run" / "log.jsonl").read_text() == before


def test_a_checkpoint_cut_short_is_skipped(
    corpus: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    output = tmp_path / "run"
    train(recipe(), corpus, output)
    first, last = (output / f"checkpoint-{n * STEPS_AN_EPOCH}" for n in (1, 2))
    (last / "carry-0.safetensors").unlink()
    folder = RunFolder(output, recipe())
    assert folder.last_checkpoint(checkpoint_files(1)) == first
    assert "checkpoint-24 is incomplete" in caplog.text
    assert "it lacks ['carry-0.safetensors']" in caplog.text
    (first / "trainer_state.json").unlink()
    assert folder.last_checkpoint(checkpoint_files(1)) is None


def test_too_little_text(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        (tmp_path / f"{split}.txt").write_text("a b c\n")
    words = "tokens must have at least 185 ids for batch_size 8 and window 12, got 4"
    with pytest.raises(ValueError, match=words):
        train(recipe(), tmp_path, tmp_path / "run")


SCRIPT = """
import os, sys
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from evenfall_egru.training import load_recipe, run

def train(recipe, corpus, output):
    original = run._arguments
    def arguments(*args):
        made = original(*args)
        made.logging_steps = 1
        return made
    run._arguments = arguments
    run.train(load_recipe(recipe), corpus, output, save_steps=4)

if __name__ == "__main__":
    os.environ |= {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    how = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=2, max_restarts=0, run_id="two",
        rdzv_backend="c10d", rdzv_endpoint="localhost:0",
        start_method="fork" if sys.platform == "linux" else "spawn",
    )
    elastic_launch(how, train)(*sys.argv[1:])
"""


@pytest.fixture
def launch(
    corpus: Path, tmp_path: Path, run_script: Callable[..., int]
) -> Callable[[Recipe], tuple[int, str]]:
    """Train in two processes as torchrun does; return the exit status and what was printed."""

    def start(settings: Recipe) -> tuple[int, str]:
        script, recipe, output = (tmp_path / name for name in ("two.py", "recipe.yaml", "two.txt"))
        script.write_text(SCRIPT)
        recipe.write_text(dump_recipe(settings))
        status = run_script(script, output, recipe, corpus, tmp_path / "two")
        return status, output.read_text()

    return start


@pytest.mark.slow
@pytest.mark.usefixtures("_every_step")
def test_two_processes_train_as_one(
    corpus: Path, tmp_path: Path, launch: Callable[[Recipe], tuple[int, str]]
) -> None:
    """The same losses, which requires the same streams, each with its own state."""
    from safetensors.torch import load_file

    status, printed = launch(recipe(epochs=1))
    assert status == 0, printed[-3000:]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CUDA_VISIBLE_DEVICES", "")
        train(recipe(epochs=1), corpus, tmp_path / "one", save_steps=4)

    for key in ("loss", "eval_perplexity"):
        one, two = log(tmp_path / "one", key), log(tmp_path / "two", key)
        assert list(two.values()) == pytest.approx(list(one.values()), rel=1e-4), key
        assert sorted(two) == sorted(one)
    whole = load_file(tmp_path / "one" / "checkpoint-8" / "carry-0.safetensors")
    halves = [
        load_file(tmp_path / "two" / "checkpoint-8" / f"carry-{rank}.safetensors")
        for rank in range(2)
    ]
    for name, state in whole.items():
        assert len(state) == 8
        both = torch.cat([half[name] for half in halves])
        assert float((both - state).abs().mean()) < 1e-3
        assert float((both.flip(0) - state).abs().mean()) > 1e-2


@pytest.mark.slow
def test_a_batch_size_that_two_processes_cannot_share(
    launch: Callable[[Recipe], tuple[int, str]],
) -> None:
    odd = Recipe(model={"embedding_size": 4, "hidden_sizes": [4]}, batch_size=3, window=4, epochs=1)
    status, printed = launch(odd)
    assert status != 0
    assert "batch_size (3) must be a multiple of the 2 ranks" in printed
