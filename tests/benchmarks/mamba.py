"""A transformers Mamba before and after evenfall.patch("mamba"): a prompt, then token by token.

    python tests/benchmarks/mamba.py [--quick] [--rounds 3] [--no-save]

24 layers of 768 with random weights, which changes nothing in the time. Where the time goes after
the patch is read from torch's profiler; the head is the product with the vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
from layout import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, by_part, key, percent, pyplot, table
from record import Record, Rows
from script import finish, parser
from timing import medians
from torch.profiler import ProfilerActivity, profile, record_function
from transformers import MambaConfig, MambaForCausalLM
from transformers.models.mamba import modeling_mamba

import evenfall

TITLE = "A Mamba before and after the patch"
ABOUT = 'The same model of `transformers` without and with `evenfall.patch("mamba")`.'
IMAGE, ALT = "mamba.svg", "Where the time goes after the patch"
PROMPT, TOKENS, THREADS = 1024, 64, 2
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm")
LABELS = {
    "mamba_selective_scan": "scan",
    "mamba_selective_state_update": "state update",
    "causal_conv1d_fn": "convolution",
    "causal_conv1d_update": "convolution",
}
Tasks = dict[str, Callable[[], object]]


def tasks(model: Any, prompt: int, tokens: int) -> Tasks:
    """Each runs from the same prompt on; the second counts the tokens after it alone."""
    vocabulary = model.config.vocab_size
    ids = torch.randint(0, vocabulary, (1, prompt))
    cache = model(ids[:, :8], use_cache=True, logits_to_keep=1).cache_params

    def prefill() -> None:
        model(ids, use_cache=True, logits_to_keep=1)

    def generate() -> None:
        token = ids[:, :1]
        for _ in range(tokens):
            out = model(token, cache_params=cache, use_cache=True)
            token = out.logits[:, -1].argmax(-1, keepdim=True)

    return {f"prompt of {prompt} tokens": prefill, f"{tokens} tokens, one by one": generate}


def compare(work: Tasks, rounds: int) -> Rows:
    """Medians of each task, unpatched and patched."""
    before = medians(work, max(1, rounds // 3))
    with evenfall.patch("mamba"):
        after = medians(work, rounds)
    return [
        {"part": "speed", "task": name, "before_ms": before[name] * 1e3,
         "after_ms": after[name] * 1e3, "times_faster": before[name] / after[name]}
        for name in work
    ]  # fmt: skip


@contextmanager
def labelled() -> Iterator[None]:
    """Within a patch: what took the place of the mixer's operations shows up in the profile."""
    with ExitStack() as stack:
        for name, label in LABELS.items():
            inner = getattr(modeling_mamba, name)
            stack.enter_context(mock.patch.object(modeling_mamba, name, _shown(label, inner)))
        yield


def _shown(label: str, inner: Callable[..., Any]) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        with record_function(label):
            return inner(*args, **kwargs)

    return call


def _part(event: Any, vocabulary: int) -> str:
    """The label that an event is under, else the kind of operator."""
    above = event
    while above is not None:
        if above.name in LABELS.values():
            return above.name
        above = above.cpu_parent
    if event.name not in PRODUCTS:
        return "other operators"
    return "head" if any(vocabulary in shape for shape in event.input_shapes) else "projections"


def shares(name: str, task: Callable[[], object], vocabulary: int) -> Rows:
    """Where the time of a patched task goes; what no operator accounts for is Python."""
    with evenfall.patch("mamba"), labelled():
        task()
        with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as found:
            begin = time.perf_counter()
            task()
            whole = (time.perf_counter() - begin) * 1e3
    spent: dict[str, float] = {}
    for event in found.events():
        part = _part(event, vocabulary)
        spent[part] = spent.get(part, 0.0) + event.self_cpu_time_total / 1e3
    spent["Python between operators"] = max(0.0, whole - sum(spent.values()))
    ordered = sorted(spent.items(), key=lambda item: -item[1])
    return [
        {"part": "profile", "task": name, "where": part, "ms": ms, "share": ms / whole}
        for part, ms in ordered
    ]  # fmt: skip


@torch.no_grad()
def measure(quick: bool, rounds: int) -> Rows:
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 100} if quick else {
        "hidden_size": 768, "num_hidden_layers": 24, "vocab_size": 50280}  # fmt: skip
    model = MambaForCausalLM(MambaConfig(**sizes)).eval()
    work = tasks(model, *((40, 4) if quick else (PROMPT, TOKENS)))
    rows = compare(work, 1 if quick else rounds)
    for name, task in work.items():
        rows += shares(name, task, sizes["vocab_size"])
    return rows


def tables(record: Record) -> str:
    """Speed, then where the time goes."""
    speed = {
        "Task": key("task"),
        "Before, ms": key("before_ms"),
        "After, ms": key("after_ms"),
        "Times faster": key("times_faster"),
    }
    profiles = {
        "Task": key("task"),
        "After the patch, time goes to": key("where"),
        "ms": key("ms"),
        "Share": percent("share"),
    }
    parts = by_part(record)
    return "\n\n".join(
        [table(speed, parts.get("speed", [])), table(profiles, parts.get("profile", []))]
    )


def picture(rows: Rows) -> None:
    """One bar a task, cut where its time goes."""
    plt = pyplot()
    found = [row for row in rows if row["part"] == "profile"]
    tasks = list(dict.fromkeys(row["task"] for row in found))[::-1]
    parts = list(dict.fromkeys(row["where"] for row in found))
    colours = (GREY, BLUE, GREEN, ORANGE, PURPLE, RED, "#56B4E9")
    _, axes = plt.subplots(figsize=(8, 2.4))
    left = [0.0] * len(tasks)
    for part, colour in zip(parts, colours, strict=False):
        shares = {row["task"]: row["share"] * 100 for row in found if row["where"] == part}
        widths = [shares.get(task, 0.0) for task in tasks]
        axes.barh(tasks, widths, left=left, color=colour, label=part)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_xlabel("share of the time after the patch, %")
    axes.legend(fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.28))


def main() -> None:
    options = parser(__doc__, rounds=3, quick=True).parse_args()
    notes = (
        "MambaForCausalLM of 24 layers of 768 with a vocabulary of 50280, float32, batch 1, "
        f"{THREADS} threads; a prompt gives the logits of its last token. Patched: medians of "
        f"{options.rounds}; unpatched: of {max(1, options.rounds // 3)}. The profile was "
        "taken once, with torch's profiler running."
    )
    finish("mamba", measure(options.quick, options.rounds), options, notes)


if __name__ == "__main__":
    main()
