"""Each command that writes, on a full disk: one clear message, and no half file."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import inputs

LONGEST = 1800
OUTPUT, PLACE = "--output=@", "@"
"""Arguments; @ stands for the output folder."""


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


def commands(folder: Path) -> Iterator[tuple[str, list[Any], int]]:
    """Name, arguments, and the size of the disk in KiB."""
    text, events = inputs.corpus(folder / "text", 100), inputs.recordings(folder / "events", 8)
    egru = inputs.write(folder / "egru.yaml", inputs.EGRU)
    stream = inputs.write(folder / "stream.yaml", inputs.STREAM)
    study = inputs.write(folder / "study.yaml", inputs.STUDY)
    card = inputs.CARD
    for kib in (8, 40):
        for plugin, recipe, data in (("egru", egru, text), ("stream", stream, events)):
            yield (
                f"{plugin} train, {kib} KiB",
                [plugin, "train", recipe, "--data", data, OUTPUT],
                kib,
            )
        yield (
            f"sparsity study, {kib} KiB",
            ["sparsity", "study", study, "--data", text, OUTPUT],
            kib,
        )
    sparse = inputs.CARDS / "egru-ptb-sparse"
    yield "egru quantize", ["egru", "quantize", card, OUTPUT], 512
    yield "sparsity prune", ["sparsity", "prune", card, "--amount", 0.5, OUTPUT], 512
    yield "sparsity compress", ["sparsity", "compress", sparse, OUTPUT], 512
    yield "spinnaker2 compile", ["spinnaker2", "compile", card, PLACE], 512
    yield "checkpoints publish", ["checkpoints", "publish", "egru-ptb-small", PLACE], 512
    yield "new", ["new", "sample", "--folder=@"], 4


def measure(folder: Path, seed: int, quick: bool, keep: Collection[str]) -> list[dict[str, Any]]:
    tried, problems, seen = 0, [], ""
    for number, (name, arguments, kib) in enumerate(commands(folder)):
        if quick and number:
            break
        with small_disk(folder / f"disk{number}", kib) as disk:
            if disk is None:
                seen = "left out: this user may not mount a file system"
                break
            with tempfile.TemporaryFile() as log:
                here = [str(one).replace("@", str(disk / "out")) for one in arguments]
                process = inputs.start(here, log)
                status = process.wait(LONGEST)
                log.seek(0)
                text = log.read().decode("utf-8", "replace")
            tried += 1
            if status != 1 or "Traceback" in text:
                problems.append(f"{name}: exit status {status}: {text.strip()[-300:]}")
            elif "No space left on device" not in text:
                problems.append(f"{name}: the message does not say it: {text.strip()[-300:]}")
            problems += [f"{name}: half a file: {one}" for one in inputs.half_files(disk)]
    seen = seen or ("each says so in a message" if not problems else problems[0])
    return [{"what": "commands on a full disk", "tried": tried, "unit": "commands", "seen": seen,
             "wrong": len(problems), "notes": problems}]  # fmt: skip
