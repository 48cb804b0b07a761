"""Train the EGRU language model of the paper's sizes for a given time, and evaluate it."""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from evenfall.corpora import read_split
from evenfall_egru import EgruForCausalLM
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.text.encoding import encode
from evenfall_egru.text.tokenization import byte_tokenizer, vocabulary, word_tokenizer
from evenfall_egru.training import Recipe, train
from evenfall_egru.training.bptt import BpttDataset

PAPER = Recipe(
    model={
        "embedding_size": 750,
        "hidden_sizes": [1350, 1350, 750],
        "embedding_dropout": 0.3,
        "hidden_dropout": 0.25,
        "output_dropout": 0.4,
        "dropconnect": 0.4,
    },
    batch_size=32,
    window=35,
    learning_rate=1e-3,
    warmup_steps=200,
    seed=1,
    bf16=True,
)
TINY = Recipe(
    model={"embedding_size": 8, "hidden_sizes": [12, 12, 8]},
    tokenizer="byte",
    batch_size=4,
    window=8,
)
_EVALUATIONS = 1.15  # an epoch's validation and checkpoint come on top of its steps


def step_seconds(model: EgruForCausalLM, dataset: BpttDataset, recipe: Recipe) -> float:
    """Median seconds of a training step, measured on a dozen."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    items = [dataset[stream] for stream in range(recipe.batch_size)]
    ids, labels = (
        torch.stack([item[key] for item in items]).to(device) for key in ("input_ids", "labels")
    )
    taken = []
    for _ in range(12):
        begin = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=recipe.bf16):
            out = model(ids, labels=labels, shift_labels=labels, skip_logits=True)
        out.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        float(out.loss.detach())  # waits for the device
        taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


def train_for(recipe: Recipe, data: Path, seconds: float) -> dict[str, Any]:
    """Train for as many whole epochs as fit, at least one, so that the learning rate ends at 0.

    Args:
        recipe: everything but the number of epochs.
        data: folder or archive with a train and a valid text; test is not read.
        seconds: how long training may take, by a dozen steps' measure.

    Returns:
        A row: parameters, epochs, seconds, tokens per second, and validation perplexity, activity
        and multiply-accumulates of the best checkpoint.
    """
    text = read_split(data, "train")
    by_word = recipe.tokenizer == "word"
    tokenizer = word_tokenizer(vocabulary([text])) if by_word else byte_tokenizer()
    dataset = BpttDataset(encode(tokenizer, text), recipe.batch_size, recipe.window, recipe.seed)
    model = EgruForCausalLM(recipe.config(vocab_size=len(tokenizer)))
    parameters, step = model.num_parameters(), step_seconds(model, dataset, recipe)
    del model
    epochs = max(1, int(seconds / (step * dataset.windows * _EVALUATIONS)))
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        best = train(replace(recipe, epochs=epochs), data, Path(folder) / "run")
        taken = time.perf_counter() - begin
        trained = EgruForCausalLM.from_pretrained(best)
    if torch.cuda.is_available():
        trained.to("cuda")
    valid = encode(tokenizer, read_split(data, "valid"))
    result = evaluate_tokens(trained, valid, batch_size=16, window=256)
    return {
        "part": "training", "hidden_sizes": recipe.config().hidden_sizes,
        "parameters": parameters, "epochs": epochs, "seconds": taken,
        "tokens_per_second": epochs * len(dataset) * recipe.window / taken,
        "validation_perplexity": result["perplexity"], "mean_activity": result["mean_activity"],
        "dense_over_effective_macs": result["macs"]["ratio"],
    }  # fmt: skip
