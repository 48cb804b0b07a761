"""Each command that writes, on a full disk: one clear message, and no half file."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from evenfall.testing.hub.server import serve

from . import inputs

LONGEST = 1800
PLACE = "@"
"""The output, in an argument; the small disk itself, in a variable."""
OUTPUT = f"--output={PLACE}"


@dataclass(frozen=True)
class Case:
    """A command, and the disk that is too small for it.

    Attributes:
        name: for messages.
        kib: the size of the disk.
        arguments: of `evenfall`.
        variables: of the environment.
    """

    name: str
    kib: int
    arguments: list[Any]
    variables: dict[str, str] = field(default_factory=dict)


@contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path | None]:
    """A file system of so many KiB; None where it may not be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def prepare(folder: Path) -> None:
    """The data and the recipes of all commands."""
    inputs.corpus(folder / "text", 100)
    inputs.recordings(folder / "events", 8)
    inputs.digits(folder / "images")
    for name in ("egru", "stream", "study", "classes", "blocks", "grid"):
        inputs.write(folder / f"{name}.yaml", getattr(inputs, name.upper()))


def training(folder: Path, hub: str) -> Iterator[Case]:
    """Commands that train."""
    text, events, images = (folder / name for name in ("text", "events", "images"))
    egru, stream, study, classes, blocks, grid = (
        folder / f"{name}.yaml" for name in ("egru", "stream", "study", "classes", "blocks", "grid")
    )
    for kib in (8, 40):
        for plugin, recipe, data in (
            ("egru", egru, text), ("stream", stream, events), ("blocklocal", blocks, images),
        ):  # fmt: skip
            yield Case(f"{plugin} train, {kib} KiB", kib,
                       [plugin, "train", recipe, "--data", data, OUTPUT])  # fmt: skip
        yield Case(f"sparsity study, {kib} KiB", kib,
                   ["sparsity", "study", study, "--data", text, OUTPUT])  # fmt: skip
        yield Case(f"grid run, {kib} KiB", kib,
                   ["grid", "run", grid, "--trainer", "egru", "--data", text, OUTPUT])  # fmt: skip
    mnist = images / "mnist"
    yield Case("egru classify", 24, ["egru", "classify", classes, "--data", mnist, OUTPUT])
    yield Case("blocklocal compare", 24, ["blocklocal", "compare", blocks, "--data", images,
                                          "--seeds", 1, OUTPUT])  # fmt: skip


def checkpoints(folder: Path, hub: str) -> Iterator[Case]:
    """Commands that read a published checkpoint."""
    card, sparse = inputs.CARD, inputs.CARDS / "egru-ptb-sparse"
    words = inputs.write(folder / "words.txt", "the company said it expects the rate to rise\n" * 9)
    yield Case("egru quantize", 512, ["egru", "quantize", card, OUTPUT])
    yield Case("egru demo", 4, ["egru", "demo", "--checkpoint", card, OUTPUT])
    yield Case("egru evaluate", 4, ["egru", "evaluate", card, "--text", words, OUTPUT])
    yield Case("sparsity prune", 512, ["sparsity", "prune", card, "--amount", 0.5, OUTPUT])
    yield Case("sparsity compress", 512, ["sparsity", "compress", sparse, OUTPUT])
    yield Case("sparsity measure", 4, ["sparsity", "measure", card, "--tokens", 32, OUTPUT])
    yield Case("spinnaker2 compile", 512, ["spinnaker2", "compile", card, PLACE])
    yield Case("checkpoints publish", 512, ["checkpoints", "publish", "egru-ptb-small", PLACE])
    yield Case("new", 4, ["new", "sample", f"--folder={PLACE}"])


def trained(folder: Path, hub: str) -> Iterator[Case]:
    """Commands that read what small runs, an image or a grid have left."""
    text, events, runs = folder / "text", folder / "events", folder / "runs"
    inputs.run("egru", "train", folder / "egru.yaml", "--data", text, "--output", runs / "egru")
    inputs.run("stream", "train", folder / "stream.yaml", "--data", events, "--output",
               runs / "stream")  # fmt: skip
    egru, stream = runs / "egru" / "best", runs / "stream" / "best"
    image = folder / "image"
    inputs.run("spinnaker2", "compile", egru, image)
    steps, graph = inputs.steps(folder / "steps.npy"), inputs.spiking(folder / "graph")
    state = inputs.state(folder / "model.pt")
    yield Case("egru convert", 4, ["egru", "convert", state, "--corpus", text, OUTPUT])
    yield Case("egru pack", 16, ["egru", "pack", egru, "--data", text, OUTPUT])
    yield Case("stream pack", 16, ["stream", "pack", runs / "stream", "--data", events, "--split",
                                   "train", OUTPUT])  # fmt: skip
    yield Case("stream evaluate", 4, ["stream", "evaluate", stream, "--data", events, "--split",
                                      "train", f"--pictures={PLACE}"])  # fmt: skip
    yield Case(
        "stream predict, pictures",
        4,
        ["stream", "predict", stream, events / "left" / "0.npz", f"--pictures={PLACE}"],
    )
    yield Case("stream predict, table", 4,
               ["stream", "predict", stream, events, "--window", 5, f"--csv={PLACE}"])  # fmt: skip
    yield Case("spinnaker2 predict", 4,
               ["spinnaker2", "predict", image, "--inputs", steps, f"{OUTPUT}.npz"])  # fmt: skip
    yield Case("spinnaker2 report", 4, ["spinnaker2", "report", image, f"--html={PLACE}.html"])
    yield Case("spinnaker2 script", 4, ["spinnaker2", "script", graph, PLACE])
    grid = inputs.blocks_grid(folder / "grid")
    yield Case("blocklocal picture", 4, ["blocklocal", "picture", grid, f"{OUTPUT}.png"])


def on_the_hub(folder: Path, hub: str) -> Iterator[Case]:
    """Commands that send and fetch."""
    variables = {
        "HF_ENDPOINT": hub, "HF_TOKEN": "hf_ann", "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    yield Case("checkpoints push", 512, ["checkpoints", "push", inputs.CARD, "ann/full"],
               variables | {"TMPDIR": PLACE})  # fmt: skip
    inputs.run("checkpoints", "push", inputs.CARD, "ann/small", **variables)
    yield Case("checkpoints pull", 512, ["checkpoints", "pull", "ann/small", f"--cache={PLACE}"],
               variables)  # fmt: skip


GROUPS: dict[str, Callable[[Path, str], Iterator[Case]]] = {
    "commands that train, on a full disk": training,
    "commands that read a checkpoint, on a full disk": checkpoints,
    "commands that read a run, an image or a grid, on a full disk": trained,
    "commands that send and fetch, on a full disk": on_the_hub,
}


def measure(
    folder: Path, seed: int, quick: bool, keep: Collection[str]
) -> Iterator[dict[str, Any]]:
    prepare(folder)
    with serve() as hub:
        hub.store.tokens["hf_ann"] = ("ann", True)
        for what, cases in GROUPS.items():
            if what not in keep:
                few = islice(cases(folder, hub.url), 1 if quick else None)
                yield row(what, few, folder)


def row(what: str, cases: Iterable[Case], folder: Path) -> dict[str, Any]:
    tried, problems, seen = 0, [], "each says so in a message"
    for case in cases:
        with small_disk(folder / "disk", case.kib) as disk:
            if disk is None:
                seen = "left out: this user may not mount a file system"
                break
            found = list(attempt(case, disk))
        (folder / "disk").rmdir()
        print(f"  {case.name}: {found or 'says so'}", flush=True)
        tried += 1
        problems += found
    return {"what": what, "tried": tried, "unit": "commands", "seen": (problems or [seen])[0],
            "wrong": len(problems), "notes": problems}  # fmt: skip


def attempt(case: Case, disk: Path) -> Iterator[str]:
    """Run a command whose output is on a disk; what goes wrong, one message each."""
    place = str(disk / "out")
    arguments = [str(one).replace(PLACE, place) for one in case.arguments]
    variables = {name: one.replace(PLACE, str(disk)) for name, one in case.variables.items()}
    with tempfile.TemporaryFile() as log:
        status = inputs.start(arguments, log, **variables).wait(LONGEST)
        log.seek(0)
        text = " ".join(log.read().decode("utf-8", "replace").split())
    if status != 1 or "Traceback" in text:
        yield f"{case.name}: exit status {status}: {text[-300:]}"
    elif "No space left on device" not in text:
        yield f"{case.name}: the message does not say it: {text[-300:]}"
    for one in inputs.half_files(disk):
        yield f"{case.name}: half a file: {one}"
