"""How fast the models of a study generate, measured in one process, in turns.

Tokens per second of greedy generation from a real prompt, batch 1: in a loop that calls the model
with its cache, and through generate(). Rounds go through all models before the next one begins, so
that a change of the machine's speed touches all of them; the median of the rounds counts.

Each model is timed as it is, compressed (every weight keeps its value), and compressed with rounded
weights, bfloat16 or int8 where that is faster: of a model with all its weights, this is what
pruning has to beat.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from evenfall.checks import check_integer
from evenfall.errors import shorten
from evenfall.files import write_json
from evenfall.hub import machine, today
from evenfall.reading import read_json
from evenfall.runs import Progress
from evenfall.trainers import ExampleLoader

from ..compression import compress
from .file import read_study
from .run import SPEEDS, TABLE, add_speeds, best_folders, find_trainer
from .summary import AS_IT_IS, COMPRESSED, ROUNDED

PROMPT = 32  # tokens


def time_study(
    file: str | Path,
    data: str | Path,
    output: str | Path,
    *,
    tokens: int = 200,
    rounds: int = 5,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Time the model of every run that has results; write speeds.json, and add it to study.json.

    Args:
        file, data, output: as `run_study`, which has to run first.
        tokens: tokens of each round.
        rounds: rounds; the median counts.
        progress: called with (task, steps done, total steps).

    Returns:
        The content of study.json. Each run has `speeds`: for each form that differs from the one
        before it, tokens per second by "loop" and "generate", and the "bytes" of the matrices.
        `timing` names the machine and the number of threads.

    Raises:
        FileNotFoundError: there is no study.json.
        ValueError: the trainer offers no example to begin the text with, study.json has a run that
            the file lacks, or tokens or rounds is no positive integer.
    """
    check_integer("tokens", tokens, 1)
    check_integer("rounds", rounds, 1)
    path = Path(output) / TABLE
    if not path.is_file():
        raise FileNotFoundError(
            f"output {output} has no {TABLE}; run the study without --time first"
        )
    table = read_json(path, "study")
    trainer, _ = find_trainer(table["trainer"])
    if not isinstance(trainer, ExampleLoader):
        raise ValueError(f"trainer {shorten(table['trainer'])} offers no example to generate from")
    bests = best_folders(read_study(file), output)
    rows = [row for row in table["runs"] if "failure" not in row]
    unknown = [row["run"] for row in rows if row["run"] not in bests]
    if unknown:
        raise ValueError(f"{path} has runs that study {file} lacks: {shorten(unknown)}")
    models: dict[tuple[str, str], tuple[Any, torch.Tensor]] = {}
    speeds: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        model, example = trainer.load_example(bests[row["run"]], data, table["splits"][0])
        speeds[row["run"]] = {}
        for form, other, size in _forms(model, example):
            models[row["run"], form] = other, example["input_ids"][:1, :PROMPT]
            speeds[row["run"]][form] = {"bytes": size}
    seconds: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(rounds + 1):
        for done, ((name, form), (model, prompt)) in enumerate(models.items(), 1):
            for way, run in WAYS.items():
                begin = time.perf_counter()
                run(model, prompt, tokens)
                if turn:  # the first round compiles
                    seconds.setdefault((name, form, way), []).append(time.perf_counter() - begin)
            if progress is not None:
                progress("timing", turn * len(models) + done, (rounds + 1) * len(models))
    for (name, form, way), times in seconds.items():
        speeds[name][form][way] = tokens / median(times)
    record = {"date": today(), "machine": machine("cpu"), "tokens": tokens, "rounds": rounds}
    write_json(Path(output) / SPEEDS, {**record, "speeds": speeds})
    add_speeds(table, output)
    write_json(path, table)
    return table


def _forms(model: Any, example: dict[str, Any]) -> list[tuple[str, Any, int]]:
    """(form, model, bytes of its matrices) of each form that differs from the one before it."""
    forms: list[tuple[str, Any, int]] = []
    stored: dict[str, Any] = {}
    for form in (COMPRESSED, ROUNDED):
        other = copy.deepcopy(model)
        result = compress(other, example, exact=form == COMPRESSED)
        if not forms:
            forms.append((AS_IT_IS, model, result.bytes_before))
        if result.stored != stored:
            forms.append((form, other, result.bytes))
        stored = result.stored
    return forms


@torch.inference_mode()
def _loop(model: Any, prompt: torch.Tensor, tokens: int) -> None:
    """Call the model for one token at a time."""
    ids, cache = prompt, None
    for _ in range(tokens):
        out = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        ids, cache = out.logits[:, -1:].argmax(-1), out.past_key_values


def _generate(model: Any, prompt: torch.Tensor, tokens: int) -> None:
    model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False,
        min_new_tokens=tokens, max_new_tokens=tokens, pad_token_id=0,
    )  # fmt: skip


WAYS: dict[str, Callable[[Any, torch.Tensor, int], None]] = {
    "loop": _loop, "generate": _generate,
}  # fmt: skip
