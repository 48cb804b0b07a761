"""Block-local training: memory and time of a step beside backpropagation, cuts, and accuracy.

    python tests/benchmarks/blocklocal.py [PART ...] [--rounds N] [--quick] [--no-save]
    python tests/benchmarks/blocklocal.py accuracy --runs FOLDER ...
    python tests/benchmarks/blocklocal.py grids --grids FOLDER ...

Memory is the peak over what is resident before the step: the activations, the gradients and the
heads'. There is no optimizer. Cuts balance the bytes saved for the backward pass. Time alternates
between the rules in one process of one thread and reports medians of the processor's seconds; a
step is forward and backward passes.

Cuts splits timm models into 4 blocks, on the meta device, and runs the leak check: of each class
of models the first one with at most 60 million parameters.

Compiled times a step of ResNet-18 that is compiled in parts or as a whole.

Processes trains a convolutional network on one rank of torch.distributed, then on two, one thread
each, with gloo. Ten-lines is the loop of the guide.

Accuracy and grids train nothing: they read the folders that `evenfall blocklocal compare` and
`evenfall grid run` wrote. Without a
PART memory and time are measured. Parts that are not named keep their rows in the record.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from time import perf_counter as clock
from time import process_time
from typing import Any

import torch
from layout import by_part, key, percent, table
from record import Record, Rows, saved_rows
from script import finish, parser
from timing import forget_peak, medians, peak_mib

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.training import Comparison

TITLE = "Block-local training"
ABOUT = """A step of `BlockLocal`, whose blocks learn during the forward pass, beside one of
backpropagation. Read [the guide](blocklocal.md#results) for what the tables do and do not show."""
PARTS = ("memory", "time", "compiled", "processes", "cuts", "ten-lines", "accuracy", "grids")
NAMES = {
    "resnet18": "ResNet-18, 224 px", "resnet50": "ResNet-50, 224 px",
    "vit_small_patch16_224": "ViT-S/16, 224 px",
    "gpt2": "12-layer language model, 256 tokens",
}  # fmt: skip
NOTES = """Memory: one thread, the peak of one step over what is resident before it, without an
optimizer, in a process of its own; the median of several. Time: one thread, seconds of the
processor, in turn in one process. Ranks: one thread each, gloo, wall time while other work had a
lower priority. Accuracy: seconds are those of a busy machine, and compare with nothing else."""
CASES = (("backprop", 1), ("bll", 4), ("bll", 8), ("local-ce", 4))
SAMPLED = ("bll", 8, 256)
"""Rule, blocks and random tokens that a block scores beside those of the batch."""
BATCH = {"resnet50": 24, "vit_small_patch16_224": 24, "gpt2": 8}
LAYERS, WIDTH, WORDS, TOKENS = 12, 384, 10_000, 256
TIMED = {"resnet18": 8, "resnet50": 4, "vit_small_patch16_224": 4, "gpt2": 2}
BALANCED_BATCH = 32


def make(name: str, rule: str, blocks: int, samples: int | None, quick: bool) -> BlockLocal:
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
    return BlockLocal(model, blocks, rule, balance="activations", inputs=inputs, samples=samples)


def make_step(local: Any, name: str, batch: int) -> Callable[[], None]:
    """A function that runs one training step of a BlockLocal, compiled or not, and forgets its
    gradients."""
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
    local = make(name, rule, blocks, None, quick)
    batch = 4 if quick else BATCH[name]
    make_step(local, name, 2)()
    step = make_step(local, name, batch)
    before = resident_mib()
    forget_peak()
    step()
    peak = peak_mib() - before
    row = {"model": name, "rule": rule, "blocks": blocks, "batch": batch, "peak_mib": round(peak)}
    print(json.dumps(row | {"head_parameters": local.head_parameters()}))


def memory(quick: bool, rounds: int) -> Rows:
    """The median peak of each case, each time in a process of its own: how the allocator reuses
    memory changes from process to process."""
    rows = []
    for name in BATCH:
        reference = None
        for rule, blocks in CASES:
            found = [_peak_of(name, rule, blocks, quick) for _ in range(rounds)]
            peaks = sorted(row["peak_mib"] for row in found)
            peak = round(statistics.median(peaks))
            reference = reference or peak
            rows.append({
                "part": "memory", **found[0], "peak_mib": peak, "lowest": peaks[0],
                "highest": peaks[-1], "share": round(peak / reference, 3),
            })  # fmt: skip
    return rows


def _peak_of(name: str, rule: str, blocks: int, quick: bool) -> dict[str, Any]:
    command = [sys.executable, __file__, "child", name, rule, str(blocks)]
    command += ["--quick"] if quick else []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    row: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return row


def time(quick: bool, rounds: int) -> Rows:
    """The median seconds of the processor of each case, in turn."""
    torch.set_num_threads(1)
    batches = {name: 2 if quick else batch for name, batch in TIMED.items()}
    plain = [(*case, None) for case in CASES]
    cases = {name: [*plain, SAMPLED] if name == "gpt2" else plain for name in batches}
    steps = {
        name: {str(case): make_step(make(name, *case, quick), name, batch) for case in cases[name]}
        for name, batch in batches.items()
    }
    print("built", file=sys.stderr, flush=True)
    rows = []
    for name, batch in batches.items():
        found = medians(steps[name], rounds, process_time)
        for case in cases[name]:
            seconds = found[str(case)]
            rule, blocks, samples = case
            rows.append(
                {
                    "part": "time", "model": name, "rule": rule, "blocks": blocks,
                    "samples": samples, "batch": batch, "seconds": round(seconds, 3),
                    "ratio": round(seconds / found[str(plain[0])], 3),
                }
            )  # fmt: skip
    return rows


def compiled(quick: bool, rounds: int) -> Rows:
    """Seconds of the processor that a step of ResNet-18 takes: as it is, with the parts between the
    boundaries compiled, and compiled as a whole, which needs backward="after"."""
    torch.set_num_threads(1)
    name, batch = "resnet18", 2 if quick else TIMED["resnet18"]
    rows: Rows = []
    for rule, blocks in CASES[:2]:
        for mode in ("eager", "parts", "whole"):
            torch.compiler.reset()
            local = make(name, rule, blocks, None, quick)
            local.backward_mode = "after" if mode == "whole" else "inside"
            if mode == "parts":
                local.compile_parts()
            step = make_step(torch.compile(local) if mode == "whole" else local, name, batch)
            begin = process_time()
            step()
            first = process_time() - begin
            seconds = medians({mode: step}, rounds, process_time)[mode]
            rows.append({
                "part": "compiled", "model": name, "rule": rule, "blocks": blocks, "mode": mode,
                "batch": batch, "seconds": round(seconds, 3), "first_seconds": round(first, 1),
                "ratio": round(seconds / (rows[0]["seconds"] if rows else seconds), 3),
            })  # fmt: skip
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows


def _classes(module: str) -> set[str]:
    """Names of the classes of models in a file of timm."""
    found = vars(import_module(f"timm.models.{module}"))
    kinds = {one for one in found.values() if isinstance(one, type)}
    whole = {one for one in kinds if issubclass(one, torch.nn.Module)}
    own = {one for one in whole if one.__module__ == f"timm.models.{module}"}
    return {one.__name__ for one in own if hasattr(one, "forward_features")}


def _on_meta(name: str) -> Any:
    """A timm model on the meta device, or on the CPU if it cannot be made there."""
    import timm

    try:
        with torch.device("meta"):
            return timm.create_model(name)
    except (RuntimeError, NotImplementedError):
        return timm.create_model(name)


def cuts(quick: bool) -> Rows:
    """Split one model of each timm class into 4 blocks; a row for each one."""
    import timm

    from evenfall_blocklocal import check_leaks, split_blocks

    done: set[str] = set()
    rows = []
    for module in timm.list_modules()[: 3 if quick else None]:
        wanted = _classes(module)
        for name in timm.list_models(module=module):
            if wanted <= done:
                break
            model = _on_meta(name)
            size = sum(p.numel() for p in model.parameters())
            kind = type(model).__name__
            if size > 60e6 or kind in done:
                continue
            done.add(kind)
            row: dict[str, Any] = {
                "part": "cuts",
                "model": name,
                "class": kind,
                "million": round(size / 1e6, 1),
            }
            try:
                split = split_blocks(model, 4)
                check_leaks(model, split)
                row |= {"legal": len(split.legal), "result": "ok"}
            except Exception as error:  # the row says what failed
                row |= {"legal": 0, "result": f"{type(error).__name__}: {error}"[:300]}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def rank_main(steps: int) -> None:
    """One rank of `processes`, started by torchrun; the first one prints the time of a step."""
    import torch.distributed as dist

    from evenfall_blocklocal.processes import BlockPipeline

    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    local = make_balanced()
    pipeline = BlockPipeline(local)
    optimizer = torch.optim.AdamW(pipeline.parameters())
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(BALANCED_BATCH, 32, 32, 32, generator=generator)
    target = torch.randint(10, (BALANCED_BATCH,), generator=generator)

    def step() -> None:
        pipeline(images, target=target)
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step()
    pipeline.wait_for_all()
    begin = clock()
    for _ in range(steps):
        step()
    pipeline.wait_for_all()
    if dist.get_rank() == 0:
        print(json.dumps({"seconds": (clock() - begin) / steps, "stages": pipeline.plan.stages}))
    dist.destroy_process_group()


def make_balanced() -> BlockLocal:
    """Two blocks of four equal convolutions each."""
    torch.manual_seed(0)
    layers = [
        torch.nn.Sequential(
            torch.nn.Conv2d(32, 32, 3, padding=1), torch.nn.BatchNorm2d(32), torch.nn.ReLU()
        )
        for _ in range(8)
    ]
    end = (torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(32, 10))
    model = torch.nn.Sequential(*layers, *end)
    return BlockLocal(
        model, boundaries=["3"], inputs=torch.randn(2, 32, 32, 32), feedback="direct", seed=0
    )


def processes(quick: bool, rounds: int) -> Rows:
    """Seconds a step on one and on two ranks, in turn; medians."""
    found: dict[int, list[float]] = {1: [], 2: []}
    for _ in range(1 if quick else rounds):
        for ranks in found:
            command = [
                sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
                str(ranks), __file__, "rank", "2" if quick else "25",
            ]  # fmt: skip
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            line = next(x for x in done.stdout.splitlines() if x.startswith("{"))
            found[ranks].append(json.loads(line)["seconds"])
    one = statistics.median(found[1])
    return [
        {
            "part": "processes", "ranks": ranks, "batch": BALANCED_BATCH,
            "seconds": round(statistics.median(times), 4),
            "speedup": round(one / statistics.median(times), 3),
        }
        for ranks, times in found.items()
    ]  # fmt: skip


def ten_lines(data: Path | None, quick: bool) -> Rows:
    """The loop of the guide with timm's ResNet-18 on the CIFAR subset: accuracy on its training
    images by both rules, and of the saved model that plain timm loads."""
    import tempfile

    import timm

    from evenfall_blocklocal.saving import save_local
    from evenfall_blocklocal.training.data import ImageSource, open_images
    from evenfall_blocklocal.training.evaluation import measure

    if data is None:
        raise SystemExit("ten-lines needs --data")
    torch.set_num_threads(1)
    images = open_images("cifar10-subset", data)
    rows = []
    for rule in ("backprop", "bll"):
        torch.manual_seed(0)
        model = timm.create_model("test_resnet" if quick else "resnet18", num_classes=10)
        local = BlockLocal(model, blocks=4, rule=rule)
        optimizer = torch.optim.AdamW(local.parameters(), lr=2e-3)
        begin = clock()
        for _ in range(1 if quick else 5):
            for chosen in torch.randperm(len(images.train)).split(64)[:-1]:
                result = local(images.train[chosen], target=images.train_labels[chosen])
                result.loss.backward()
                optimizer.step()
                optimizer.zero_grad()
        seconds = clock() - begin
        with tempfile.TemporaryDirectory() as folder:
            save_local(local, folder)
            again = timm.create_model(f"local-dir:{folder}", pretrained=True)
        found = [measure(one, ImageSource(images), "train") for one in (model, again)]
        row = {"part": "ten-lines", "rule": rule, "train_accuracy": found[0]}
        row |= {"reloaded_accuracy": found[1], "head_parameters": local.head_parameters()}
        rows.append(row | {"boundaries": list(local.split.boundaries), "seconds": round(seconds)})
    return rows


def accuracy(folders: list[Path]) -> Rows:
    """Means over the seeds of each rule, from what `evenfall blocklocal compare` wrote; recipes
    that are not named keep their rows."""
    rows = []
    for folder in folders:
        results = json.loads((folder / "results.json").read_text("utf-8"))
        about = {"part": "accuracy", "recipe": folder.name, "epochs": results[0]["epochs"]}
        rows += [about | row for row in Comparison(tuple(results)).rows()]
    named = {folder.name for folder in folders}
    saved = [row for row in saved_rows("blocklocal") if row["part"] == "accuracy"]
    return [*(row for row in saved if row["recipe"] not in named), *rows]


def grids(folders: list[Path]) -> Rows:
    """A row for each cell of a grid: what it changes, and its mean accuracy on the test split;
    grids that are not named keep their rows."""
    rows = []
    for folder in folders:
        found = json.loads((folder / "grid.json").read_text("utf-8"))
        for cell in found["cells"]:
            figure = cell["figures"]["test"]["accuracy"]
            rows.append({
                "part": "grids", "grid": folder.name, "recipe": found["recipe"],
                "cell": cell["cell"], "changes": cell["changes"], "test_accuracy": figure["mean"],
                "seeds": len(figure["values"]),
            })  # fmt: skip
    named = {folder.name for folder in folders}
    saved = [row for row in saved_rows("blocklocal") if row["part"] == "grids"]
    return [*(row for row in saved if row["grid"] not in named), *rows]


def tables(record: Record) -> str:
    """Peaks, times, how many models can be cut, and accuracies."""
    parts = by_part(record)
    case = {
        "Model": lambda row: NAMES[row["model"]], "Batch": key("batch"), "Rule": key("rule"),
        "Blocks": key("blocks"),
    }  # fmt: skip
    peaks = case | {
        "Peak, MiB": key("peak_mib"), "Lowest": key("lowest"), "Highest": key("highest"),
        "Of backpropagation's": percent("share"),
        "Parameters of heads": key("head_parameters"),
    }  # fmt: skip
    times = case | {
        "Random tokens": key("samples"),
        "Seconds": key("seconds"),
        "Of backpropagation's": percent("ratio"),
    }
    modes = case | {
        "Compiled": key("mode"), "Seconds": key("seconds"), "First step, seconds":
        key("first_seconds"), "Of backpropagation's": percent("ratio"),
    }  # fmt: skip
    ranks = {
        "Ranks": key("ranks"), "Batch": key("batch"), "Seconds a step": key("seconds"),
        "Times one rank": key("speedup"),
    }  # fmt: skip
    lines = {
        "Rule": key("rule"), "Training accuracy": percent("train_accuracy"),
        "Loaded by timm": percent("reloaded_accuracy"),
        "Parameters of heads": key("head_parameters"),
    }  # fmt: skip
    cells = {
        "Grid": key("grid"), "Recipe": key("recipe"), "Cell": key("cell"),
        "Test accuracy": percent("test_accuracy"), "Seeds": key("seeds"),
    }  # fmt: skip
    shown = {
        "memory": peaks, "time": times, "compiled": modes, "processes": ranks, "ten-lines": lines,
        "grids": cells,
    }  # fmt: skip
    blocks = [table(columns, parts[name]) for name, columns in shown.items() if name in parts]
    blocks += _accuracies(parts.get("accuracy", []))
    if "cuts" in parts:
        failed = [row["model"] for row in parts["cuts"] if row["result"] != "ok"]
        count = len(parts["cuts"])
        text = f"Of {count} classes of timm models, {count - len(failed)} are cut into 4 blocks"
        blocks.append(f"{text}; not {', '.join(failed)}." if failed else f"{text}.")
    return "\n\n".join(blocks)


def _accuracies(rows: Rows) -> list[str]:
    """Tables of the recipes that measure accuracy, and of those that measure perplexity."""
    found = []
    for metric, show in (("accuracy", percent), ("perplexity", key)):
        columns = {
            "Recipe": key("recipe"), "Rule": key("rule"), f"Test {metric}": show(f"test_{metric}"),
            "Lowest": show("lowest"), "Highest": show("highest"),
            f"Training {metric}": show(f"train_{metric}"),
            "Parameters of heads": key("head_parameters"), "Seconds": key("seconds"),
            "Seeds": key("seeds"),
        }  # fmt: skip
        chosen = [row for row in rows if f"test_{metric}" in row]
        if chosen:
            found.append(table(columns, chosen))
    return found


def measure(options: argparse.Namespace) -> Rows:
    """The rows of the parts that were asked for, and the saved ones of the others."""
    parts: dict[str, Callable[[], Rows]] = {
        "memory": lambda: memory(options.quick, options.rounds),
        "time": lambda: time(options.quick, options.rounds),
        "compiled": lambda: compiled(options.quick, options.rounds),
        "processes": lambda: processes(options.quick, options.rounds),
        "cuts": lambda: cuts(options.quick),
        "ten-lines": lambda: ten_lines(options.data, options.quick),
        "accuracy": lambda: accuracy(options.runs),
        "grids": lambda: grids(options.grids),
    }
    found = {name: parts[name]() for name in options.parts}
    saved = saved_rows("blocklocal")
    kept = {name: [row for row in saved if row["part"] == name] for name in PARTS}
    return [row for name in PARTS for row in found.get(name, kept[name])]


def main() -> None:
    if sys.argv[1:2] == ["child"]:
        name, rule, blocks, *quick = sys.argv[2:]
        child(name, rule, int(blocks), bool(quick))
        return
    if sys.argv[1:2] == ["rank"]:
        rank_main(int(sys.argv[2]))
        return
    asked = parser(__doc__, rounds=3, quick=True)
    asked.add_argument("parts", nargs="*", help=f"of {', '.join(PARTS)}; memory and time")
    asked.add_argument("--data", type=Path, help="folder of the data sets, for ten-lines")
    asked.add_argument(
        "--runs", type=Path, nargs="+", help="folders that `evenfall blocklocal compare` wrote"
    )
    asked.add_argument(
        "--grids", type=Path, nargs="+", help="folders that `evenfall grid run` wrote"
    )
    options = asked.parse_args()
    options.parts = options.parts or ["memory", "time"]
    if not set(options.parts) <= set(PARTS):
        asked.error(f"parts must be of {PARTS}, got {options.parts}")
    for part, folders in (("accuracy", "runs"), ("grids", "grids")):
        if part in options.parts and getattr(options, folders) is None:
            asked.error(f"{part} needs --{folders}")
    rows = measure(options)
    parts = " ".join(dict.fromkeys(row["part"] for row in rows))
    runs = "".join(
        f" --{option} {' '.join(f'runs/{name}' for name in dict.fromkeys(names))}" if names else ""
        for option, names in (
            ("runs", [row["recipe"] for row in rows if row["part"] == "accuracy"]),
            ("grids", [row["grid"] for row in rows if row["part"] == "grids"]),
        )
    )
    data = " --data data/" if "ten-lines" in parts else ""
    command = f"python tests/benchmarks/blocklocal.py {parts}{data}{runs}"
    finish("blocklocal", rows, options, " ".join(NOTES.split()), command)


if __name__ == "__main__":
    main()
