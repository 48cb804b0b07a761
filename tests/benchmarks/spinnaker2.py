"""Images for SpiNNaker2 beside the PyTorch models that they were made of.

    python tests/benchmarks/spinnaker2.py --data FOLDER [--part NAME ...] [--classifier RUN]

Parts: text (egru-ptb-small over --tokens tokens of the test text), greedy (200 tokens), cnn
(N-MNIST by cnn_sinabs.nir), mlp (a dense network in int8, trained here on MNIST for a minute),
classifier (the best model of a run of `evenfall egru classify`, over MNIST's test images), speed.
Prints tables and saves nothing.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from script import parser, show

from evenfall import registry
from evenfall_egru import EgruForCausalLM, EgruForSequenceClassification
from evenfall_egru.evaluation.accuracy import evaluate_frames
from evenfall_egru.sequences import read_frames, read_mnist
from evenfall_egru.text.corpus import encode, read_split
from evenfall_spinnaker2 import Emulator, compile
from evenfall_spinnaker2.emulator.text import TextEmulator

CARD = Path(__file__).resolve().parents[2] / "hub_cards" / "egru-ptb-small"
CHUNK = 512


def text(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Perplexity, logits and events over the test text, the state carried."""
    from transformers import AutoTokenizer, DynamicCache

    model = EgruForCausalLM.from_pretrained(CARD).eval()
    tokenizer = AutoTokenizer.from_pretrained(CARD)
    ids = encode(tokenizer, read_split(options.data / "ptb", "test"))[: options.tokens + 1]
    for precision in ("auto", "int8"):
        emulator = Emulator(compile(CARD, folder / precision, precision=precision))
        cache, seconds = DynamicCache(config=model.config), 0.0
        loss, flips, events, equal, gap, choices = np.zeros(2), 0, 0, 0, 0.0, 0
        for first in range(0, len(ids) - 1, CHUNK):
            inputs = ids[first : first + CHUNK][: len(ids) - 1 - first]
            targets = ids[first + 1 : first + 1 + len(inputs)]
            with torch.no_grad():
                wanted = model(
                    inputs[None], past_key_values=cache, use_cache=True, output_hidden_states=True
                )
            started = time.perf_counter()
            run = emulator.run(inputs.numpy(), record=True)
            seconds += time.perf_counter() - started
            got = torch.from_numpy(next(iter(run.outputs.values())))
            logits = wanted.logits[0]
            differs = np.zeros(len(inputs), bool)
            for y, raster in zip(wanted.hidden_states[1:], run.rasters.values(), strict=True):
                other = (y[0].numpy() != 0) != (raster != 0)
                flips, events = flips + int(other.sum()), events + int(np.count_nonzero(raster))
                differs |= other.any(1)
            gaps = (got - logits).abs().amax(1).numpy()
            equal += int((~differs).sum())
            gap = max(gap, float(gaps[~differs].max(initial=0)))
            choices += int((got.argmax(1) != logits.argmax(1)).sum())
            for row, values in enumerate((logits, got)):
                loss[row] += float(F.cross_entropy(values, targets, reduction="sum"))
        yield {
            "part": "text", "weights": precision, "tokens": len(ids) - 1,
            "perplexity, PyTorch": float(np.exp(loss[0] / (len(ids) - 1))),
            "perplexity, image": float(np.exp(loss[1] / (len(ids) - 1))),
            "events": events, "flipped": flips, "steps with equal events": equal,
            "largest gap of a logit there": gap, "other choices": choices,
            "tokens/s, recorded": (len(ids) - 1) / seconds,
        }  # fmt: skip


def greedy(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Two hundred tokens, past line ends."""
    emulator = TextEmulator(Emulator(compile(CARD, folder / "greedy")))
    found = emulator.continue_text("the company said", 200, past_end=True)
    ids = torch.tensor([found.prompt_ids])
    out = EgruForCausalLM.from_pretrained(CARD).generate(
        ids, do_sample=False, max_new_tokens=200, eos_token_id=None, pad_token_id=24
    )
    same = list(found.new_ids) == out[0, ids.shape[1] :].tolist()
    yield {"part": "greedy", "tokens": 200, "same as generate": same}


def cnn(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A spiking CNN from a NIR file on N-MNIST's recordings, in frames of a millisecond."""
    emulator = Emulator(compile(options.data / "nir" / "cnn_sinabs.nir", folder / "cnn"))
    recordings = registry.datasets.get("nmnist")(options.data / "nmnist_small", "test")
    right = 0
    for number in range(len(recordings)):
        one = recordings[number]
        step = one["t"] // 1000
        frames = np.zeros((int(step.max()) + 1, 2, 34, 34), np.float32)
        np.add.at(frames, (step, one["p"], one["y"], one["x"]), 1)
        emulator.reset()
        spikes = next(iter(emulator.run(frames).outputs.values()))
        right += int(spikes.reshape(-1, 10).sum(0).argmax()) == int(one["label"])
    yield {
        "part": "cnn",
        "PEs": len(emulator.image.blobs),
        "recordings": number + 1,
        "right": right,
    }


def mlp(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A dense network, trained on MNIST's training images, with int8 weights and activations."""
    torch.manual_seed(0)
    train = read_frames("mnist", options.data / "mnist", "train", {"pixels": 784})
    x, labels = train.x[:, 0], train.labels
    model = torch.nn.Sequential(
        torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 128), torch.nn.ReLU(),
        torch.nn.Linear(128, 10),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(6):
        for rows in torch.randperm(len(x)).split(128):
            loss = F.cross_entropy(model(x[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    test = read_mnist(options.data / "mnist", "test", pixels=784)
    images = test.images.astype(np.float32) / np.float32(255)
    with torch.no_grad():
        wanted = model(torch.from_numpy(images)).argmax(1).numpy()
    settings = {"precision": "int8", "calibration": x[:1000].numpy()}
    emulator = Emulator(compile(model.eval(), folder / "mlp", **settings))
    got = next(iter(emulator.run(images).outputs.values())).argmax(1)
    yield {
        "part": "mlp", "images": len(got),
        "accuracy, PyTorch": float((wanted == test.labels).mean()),
        "accuracy, image": float((got == test.labels).mean()),
        "other choices": int((got != wanted).sum()), "PEs": len(emulator.image.blobs),
    }  # fmt: skip


def classifier(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A trained EGRU on all test images of MNIST."""
    model = EgruForSequenceClassification.from_pretrained(options.classifier / "best").eval()
    pixels = {"pixels": model.config.embedding_size}
    frames = read_frames("mnist", options.data / "mnist", "test", pixels)
    wanted = evaluate_frames(model, frames)
    for precision in ("auto", "int8"):
        emulator = Emulator(compile(model, folder / f"c-{precision}", precision=precision))
        choices, operations = [], 0.0
        for x in frames.x.numpy():
            emulator.reset()
            run = emulator.run(x)
            choices.append(int(next(iter(run.outputs.values())).argmax()))
            operations += float(run.operations.mean())
        found = np.array(choices)
        yield {
            "part": "classifier", "weights": precision, "pixels a step": pixels["pixels"],
            "images": len(found), "accuracy, PyTorch": wanted["accuracy"],
            "accuracy, image": float((found == frames.labels.numpy()).mean()),
            "other choices": int((found != np.array(wanted["predictions"])).sum()),
            "activity": wanted["activity"][0], "operations a step": operations / len(found),
        }  # fmt: skip


def speed(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """Tokens in a second while generating: the median of seven rounds of 100 tokens."""
    for mode in ("events", "gather"):
        emulator = Emulator(compile(CARD, folder / f"speed-{mode}", mode=mode))
        tokens = np.random.default_rng(0).integers(0, 10_000, 100)
        emulator.run(tokens[:2], pipelined=False)
        seconds = []
        for _ in range(7):
            started = time.perf_counter()
            emulator.run(tokens, pipelined=False)
            seconds.append(time.perf_counter() - started)
        yield {"part": "speed", "mode": mode, "tokens/s": 100 / float(np.median(seconds))}


PARTS = {one.__name__: one for one in (text, greedy, cnn, mlp, classifier, speed)}


def main() -> None:
    """Measure the parts that were asked for."""
    options = parser(__doc__)
    options.add_argument("--data", type=Path, required=True, help="folder of the data sets")
    options.add_argument("--part", nargs="*", choices=PARTS, help="by default all")
    options.add_argument("--tokens", type=int, default=10**9, help="of the test text")
    options.add_argument("--classifier", type=Path, help="folder of a run")
    options = options.parse_args()
    for name in options.part or PARTS:
        if name == "classifier" and options.classifier is None:
            continue
        with tempfile.TemporaryDirectory() as folder:
            show(name, list(PARTS[name](options, Path(folder))))


if __name__ == "__main__":
    main()
