"""EGRU's language model on the chip, beside PyTorch: text, greedy text, orders of arrival."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from evenfall.corpora import read_split
from evenfall_egru import EgruForCausalLM
from evenfall_egru.text.encoding import encode
from evenfall_spinnaker2 import Emulator, compile
from evenfall_spinnaker2.emulator.orders import compare_orders
from evenfall_spinnaker2.emulator.text import TextEmulator

CARDS = Path(__file__).resolve().parents[3] / "hub_cards"
DENSE, SPARSE = "egru-ptb-small", "egru-ptb-sparse"
CHUNK, LISTED = 512, 10
PROMPT = "the company said"


def text(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Perplexity, logits and events over the test text, the state carried."""
    for name in options.models:
        for precision in ("auto", "int8"):
            image = compile(CARDS / name, folder / name / precision, precision=precision)
            yield _text(name, precision, Emulator(image), options)


def _text(name: str, precision: str, emulator: Emulator, options: Any) -> dict[str, Any]:
    """What the image and the model make of the test text."""
    from transformers import AutoTokenizer, DynamicCache

    model = EgruForCausalLM.from_pretrained(CARDS / name).eval()
    tokenizer = AutoTokenizer.from_pretrained(CARDS / name)
    ids = encode(tokenizer, read_split(options.data / "ptb", "test"))[: options.tokens + 1]
    cache = DynamicCache(config=model.config)
    loss, flips, events, gap, choices = np.zeros(2), 0, 0, 0.0, 0
    differing: list[int] = []
    for first in range(0, len(ids) - 1, CHUNK):
        inputs = ids[first : first + CHUNK][: len(ids) - 1 - first]
        targets = ids[first + 1 : first + 1 + len(inputs)]
        with torch.no_grad():
            wanted = model(
                inputs[None], past_key_values=cache, use_cache=True, output_hidden_states=True
            )
        run = emulator.run(inputs.numpy(), record=True)
        got = torch.from_numpy(next(iter(run.outputs.values())))
        logits = wanted.logits[0]
        differs = np.zeros(len(inputs), bool)
        for y, raster in zip(wanted.hidden_states[1:], run.rasters.values(), strict=True):
            other = (y[0].numpy() != 0) != (raster != 0)
            flips, events = flips + int(other.sum()), events + int(np.count_nonzero(raster))
            differs |= other.any(1)
        gaps = (got - logits).abs().amax(1).numpy()
        differing += (first + np.flatnonzero(differs)).tolist()
        gap = max(gap, float(gaps[~differs].max(initial=0)))
        choices += int((got.argmax(1) != logits.argmax(1)).sum())
        for row, values in enumerate((logits, got)):
            loss[row] += float(F.cross_entropy(values, targets, reduction="sum"))
    return {
        "part": "text", "model": name, "weights": precision, "PEs": len(emulator.image.blobs),
        "kB of blobs": round(blob_bytes(emulator.image) / 1000), "tokens": len(ids) - 1,
        "perplexity, PyTorch": float(np.exp(loss[0] / (len(ids) - 1))),
        "perplexity, image": float(np.exp(loss[1] / (len(ids) - 1))),
        "events": events, "flipped": flips,
        "steps with equal events": len(ids) - 1 - len(differing),
        "other steps, the first": differing[:LISTED],
        "largest gap of a logit there": gap, "other choices": choices,
    }  # fmt: skip


def blob_bytes(image: Any) -> int:
    """Bytes of all blobs of an image."""
    return sum(row["memory"][1]["bytes"] for row in image.manifest["pes"])


def greedy(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Two hundred tokens, past line ends."""
    for name in options.models:
        emulator = TextEmulator(Emulator(compile(CARDS / name, folder / name)))
        found = emulator.continue_text(PROMPT, 200, past_end=True)
        ids = torch.tensor([found.prompt_ids])
        out = EgruForCausalLM.from_pretrained(CARDS / name).generate(
            ids, do_sample=False, max_new_tokens=200, eos_token_id=None, pad_token_id=24
        )
        same = list(found.new_ids) == out[0, ids.shape[1] :].tolist()
        yield {"part": "greedy", "model": name, "tokens": 200, "same as generate": same}


def orders(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Random orders of arrival, over a prompt and the 200 tokens that follow it."""
    for name in options.models:
        image = compile(CARDS / name, folder / name)
        found = TextEmulator(Emulator(image)).continue_text(PROMPT, 200, past_end=True)
        tokens = np.array([*found.prompt_ids, *found.new_ids])
        study = compare_orders(image, tokens, options.orders)
        yield {
            "part": "orders", "model": name, "orders": study.orders,
            "tokens": study.steps * study.orders,
            "events": sum(study.events.values()) * study.orders,
            "flipped": sum(study.flipped.values()), "other choices": study.changed_outputs,
            "largest gap of a logit": study.largest_gap,
        }  # fmt: skip
