"""Block-local training: peak memory of a step in fresh processes, and time beside backpropagation.

    python tests/benchmarks/blocklocal.py memory [--quick]
    python tests/benchmarks/blocklocal.py time [--rounds N] [--quick]
    python tests/benchmarks/blocklocal.py cuts [--quick]

Memory is the peak over what is resident before the step: the activations, the gradients and the
heads'. There is no optimizer. Cuts balance the bytes saved for the backward pass. Time alternates
between the rules in one process and reports medians; a step is forward and backward passes.

Cuts splits timm models into 4 blocks, on the meta device, and runs the leak check: of
each file of models up to five, of those with at most 60 million parameters the first of a class.

The accuracies of docs/blocklocal.md come from `evenfall blocklocal compare`.
"""

from __future__ import annotations

import argparse
import gc
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from record import machine
from script import show
from timing import forget_peak, medians, peak_mib

from evenfall_blocklocal import BlockLocal

CASES = (("backprop", 1), ("bll", 4), ("bll", 8), ("local-ce", 4))
BATCH = {"resnet50": 24, "vit_small_patch16_224": 24, "gpt2": 8}
LAYERS, WIDTH, WORDS, TOKENS = 12, 384, 10_000, 256


def make(name: str, rule: str, blocks: int, quick: bool) -> BlockLocal:
    """The model in blocks; timm's models, or a language model of 12 layers."""
    torch.manual_seed(0)
    if name == "gpt2":
        from transformers import GPT2Config, GPT2LMHeadModel

        width = 32 if quick else WIDTH
        config = GPT2Config(
            vocab_size=WORDS, n_embd=width, n_layer=LAYERS, n_head=4, n_positions=TOKENS,
            bos_token_id=0, eos_token_id=0, tie_word_embeddings=False, use_cache=False,
        )  # fmt: skip
        inputs: Any = {"input_ids": torch.randint(WORDS, (2, 8)), "use_cache": False}
        model: Any = GPT2LMHeadModel(config)
    else:
        import timm

        model, inputs = timm.create_model(name, num_classes=1000), torch.randn(2, 3, 224, 224)
    return BlockLocal(model, blocks, rule, balance="activations", inputs=inputs)


def make_step(local: BlockLocal, name: str, batch: int) -> Callable[[], None]:
    """A function that runs one training step and forgets its gradients."""
    if name == "gpt2":
        ids = torch.randint(WORDS, (batch, TOKENS))
        call: Any = lambda: local(input_ids=ids, labels=ids, use_cache=False)  # noqa: E731
    else:
        images, target = torch.randn(batch, 3, 224, 224), torch.randint(1000, (batch,))
        call = lambda: local(images, target=target)  # noqa: E731

    def step() -> None:
        call().loss.backward()
        local.zero_grad()

    return step


def resident_mib() -> float:
    """What is resident now; the peak is set back to it where the system allows that."""
    gc.collect()
    status = Path("/proc/self/status").read_text()
    return int(next(x for x in status.splitlines() if x.startswith("VmRSS")).split()[1]) / 1024


def child(name: str, rule: str, blocks: int, quick: bool) -> None:
    """Print the peak of one step as JSON."""
    torch.set_num_threads(1)
    local = make(name, rule, blocks, quick)
    batch = 4 if quick else BATCH[name]
    make_step(local, name, 2)()
    step = make_step(local, name, batch)
    before = resident_mib()
    forget_peak()
    step()
    peak = peak_mib() - before
    row = {"model": name, "rule": rule, "blocks": blocks, "batch": batch, "peak_mib": round(peak)}
    print(json.dumps(row | {"head_parameters": local.head_parameters()}))


def memory(quick: bool) -> list[dict[str, Any]]:
    """The peak of each case, in a process of its own."""
    rows = []
    for name in BATCH:
        reference = None
        for rule, blocks in CASES:
            command = [sys.executable, __file__, "child", name, rule, str(blocks)]
            done = subprocess.run(
                [*command, *(["--quick"] if quick else [])],
                capture_output=True,
                text=True,
                check=True,
            )
            row = json.loads(done.stdout.splitlines()[-1])
            reference = reference or row["peak_mib"]
            rows.append(row | {"change_percent": round(100 * (row["peak_mib"] / reference - 1))})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def time(rounds: int, quick: bool) -> list[dict[str, Any]]:
    """The median seconds of each case, in turn."""
    torch.set_num_threads(1)
    rows = []
    for name in BATCH:
        batch = 2 if quick else max(BATCH[name] // 4, 2)
        steps = {case: make_step(make(name, *case, quick), name, batch) for case in CASES}
        found = medians(
            {f"{rule}, {blocks}": steps[rule, blocks] for rule, blocks in CASES}, rounds
        )
        reference = found["backprop, 1"]
        for case, seconds in found.items():
            row = {
                "model": name,
                "rule, blocks": case,
                "batch": batch,
                "seconds": round(seconds, 3),
            }
            rows.append(row | {"ratio": round(seconds / reference, 3)})
            print(json.dumps(rows[-1]), flush=True)
    return rows


def _few(names: list[str], count: int = 5) -> list[str]:
    """Models of one file, spread over its alphabet, so that most of its classes are among them."""
    return [names[i * len(names) // count] for i in range(count)] if len(names) > count else names


def _on_meta(name: str) -> Any:
    """A timm model on the meta device, or on the CPU if it cannot be made there."""
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except (RuntimeError, NotImplementedError):
        return timm.create_model(name)


def cuts(quick: bool) -> list[dict[str, Any]]:
    """Split one model of each timm class into 4 blocks; a row for each one."""
    import timm

    from evenfall_blocklocal import check_leaks, split_blocks

    done: set[str] = set()
    rows = []
    for module in timm.list_modules()[: 3 if quick else None]:
        for name in _few(timm.list_models(module=module)):
            model = _on_meta(name)
            size = sum(p.numel() for p in model.parameters())
            kind = type(model).__name__
            if size > 60e6 or kind in done:
                continue
            done.add(kind)
            row = {"model": name, "class": kind, "million": round(size / 1e6, 1)}
            try:
                split = split_blocks(model, 4)
                check_leaks(model, split)
                row |= {"legal": len(split.legal), "result": "ok"}
            except Exception as error:  # the row says what failed
                row |= {"legal": 0, "result": f"{type(error).__name__}: {error}"[:300]}
            rows.append(row)
            print(json.dumps(row), flush=True)
    print(f"{sum(row['result'] == 'ok' for row in rows)} of {len(rows)} classes")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("part", choices=["memory", "time", "cuts", "child"])
    parser.add_argument("case", nargs="*")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if options.part == "child":
        name, rule, blocks = options.case
        child(name, rule, int(blocks), options.quick)
        return
    rows = {
        "memory": lambda: memory(options.quick),
        "time": lambda: time(options.rounds, options.quick),
        "cuts": lambda: cuts(options.quick),
    }[options.part]()
    show(f"blocklocal {options.part}, {machine()['cpu']}", rows)


if __name__ == "__main__":
    main()
