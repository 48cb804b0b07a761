"""Learning rates: of each step, of a window's length, of the thresholds."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from safetensors.torch import load_file
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup

from evenfall.corpora import read_split
from evenfall_egru.text.encoding import encode
from evenfall_egru.text.tokenization import vocabulary, word_tokenizer
from evenfall_egru.training import Recipe, run, train
from evenfall_egru.training.bptt import BpttDataset
from evenfall_egru.training.schedule import rate_factor

TINY = {"embedding_size": 8, "hidden_sizes": [12, 8]}
STEPS = 12  # of an epoch: 1320 tokens in 8 streams of windows of 12


def recipe(**settings: Any) -> Recipe:
    fixed = {"epochs": 2, "batch_size": 8, "window": 12, "learning_rate": 1e-2, "seed": 5}
    return Recipe(model=TINY, **{**fixed, **settings})


@pytest.fixture
def _every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log the learning rate of each step."""
    original = run._arguments

    def arguments(*args: Any) -> Any:
        made = original(*args)
        made.logging_steps = 1
        return made

    monkeypatch.setattr(run, "_arguments", arguments)


def rates(output: Path) -> dict[int, float]:
    """Steps before it -> the learning rate of a step."""
    lines = map(json.loads, (output / "log.jsonl").read_text().splitlines())
    return {line["step"] - 1: line["learning_rate"] for line in lines if "learning_rate" in line}


@pytest.mark.parametrize("warmup", [0, 7])
def test_without_a_late_start_the_schedules_are_those_of_transformers(warmup: int) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    cosine = get_cosine_schedule_with_warmup(optimizer, warmup, 50).lr_lambdas[0]
    constant = get_constant_schedule_with_warmup(optimizer, warmup).lr_lambdas[0]
    for step in range(51):
        assert rate_factor(step, 50, "cosine", warmup) == pytest.approx(cosine(step), abs=1e-12)
        assert rate_factor(step, 50, "constant", warmup) == pytest.approx(constant(step))


def test_a_cosine_can_start_late() -> None:
    factors = [rate_factor(step, 100, "cosine", 10, 60) for step in range(101)]
    assert factors[5] == 0.5
    assert set(factors[10:61]) == {1.0}
    assert factors[80] == pytest.approx(0.5)
    assert factors[100] == 0.0


@pytest.mark.usefixtures("_every_step")
def test_the_rate_follows_the_length_of_the_window(corpus: Path, tmp_path: Path) -> None:
    settings = recipe(window_jitter=2.0, short_windows=0.2, cosine_start=1.0)
    train(settings, corpus, tmp_path / "run")
    text = read_split(corpus, "train")
    tokens = encode(word_tokenizer(vocabulary([text])), text)
    dataset = BpttDataset(tokens, 8, 12, 5, jitter=2.0, short_windows=0.2)
    steps = dataset.windows
    found = rates(tmp_path / "run")
    assert sorted(found) == list(range(2 * steps))
    lengths = set()
    for step in range(2 * steps):
        first, last = dataset.bounds_of(step // steps)[step % steps :][:2]
        progress = max(0.0, (step - steps) / steps)
        late = 0.5 * (1 + math.cos(math.pi * progress))
        assert found[step] == pytest.approx(1e-2 * late * (last - first) / 12, rel=1e-6)
        lengths.add(last - first)
    assert len(lengths) > 4


def test_a_run_of_random_windows_resumes_to_the_same_weights(corpus: Path, tmp_path: Path) -> None:
    settings = recipe(window_jitter=2.0, short_windows=0.2, threshold_learning_rate=1e-3)
    whole = train(settings, corpus, tmp_path / "whole", save_steps=5)

    class Killed(Exception):
        pass

    def stop(task: str, done: int, total: int) -> None:
        if task.startswith("epoch 2") and done == 4:
            raise Killed

    with pytest.raises(Killed):
        train(settings, corpus, tmp_path / "cut", save_steps=5, progress=stop)
    again = train(settings, corpus, tmp_path / "cut", save_steps=5, resume=True)
    a, b = (load_file(folder / "model.safetensors") for folder in (whole, again))
    assert all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("rate", [0.0, 1e-1, None])
def test_thresholds_have_a_learning_rate(corpus: Path, tmp_path: Path, rate: float | None) -> None:
    """Adam's first step is the learning rate, whatever the gradient is."""
    settings = recipe(epochs=1 / STEPS, threshold_learning_rate=rate, schedule="constant")
    settings = replace(settings, weight_decay=0.0, betas=(0.0, 0.9))
    moved = load_file(train(settings, corpus, tmp_path / "run") / "model.safetensors")
    still = replace(settings, learning_rate=1e-30, threshold_learning_rate=0.0)
    first = load_file(train(still, corpus, tmp_path / "still") / "model.safetensors")
    for name, weight in moved.items():
        change = float((weight - first[name]).abs().max())
        expected = (1e-2 if rate is None else rate) if name.endswith("threshold") else 1e-2
        if name.endswith("lm_head.weight"):
            continue  # tied
        assert change == pytest.approx(expected, rel=1e-2, abs=1e-7), name


@pytest.mark.parametrize("window", [1, 2, 5, 12])
def test_every_window_has_a_token(window: int) -> None:
    dataset = BpttDataset(torch.arange(3000), 4, window, jitter=3.0, short_windows=0.5)
    for epoch in range(3):
        bounds = dataset.bounds_of(epoch)
        assert (bounds[0], bounds[-1]) == (0, dataset.stream_length)
        assert min(b - a for a, b in pairwise(bounds)) >= 1
