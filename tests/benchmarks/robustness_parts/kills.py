"""Processes that are killed at random moments and started again end with the same files."""

from __future__ import annotations

import hashlib
import random
import subprocess
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evenfall.testing.hub.server import Hub, serve

from . import inputs

KILLS = 10
"""Of each job."""
LONGEST = 1800


@dataclass(frozen=True)
class Job:
    """A command that is killed.

    Attributes:
        name: for the table.
        arguments: of `evenfall`, for the output folder.
        results: patterns of the files that must be equal, byte for byte.
        variables: of the environment.
        remote: the files of the output where it is no folder, by name.
    """

    name: str
    arguments: Callable[[Path], list[Any]]
    results: tuple[str, ...]
    variables: dict[str, str]
    remote: Callable[[Path], dict[str, bytes]] | None = None

    def digests(self, output: Path) -> dict[str, str]:
        """File -> SHA-256 of what the command has written."""
        if self.remote is not None:
            found = self.remote(output)
        else:
            paths = {
                path for pattern in self.results for path in output.glob(pattern) if path.is_file()
            }
            found = {str(path.relative_to(output)): path.read_bytes() for path in paths}
        return {name: hashlib.sha256(found[name]).hexdigest() for name in sorted(found)}

    def names(self, output: Path) -> list[str]:
        """All files of the output, those beside it that have its name included."""
        paths = [*output.rglob("*"), *output.parent.glob(f".{output.name}*")]
        return sorted(p.name for p in paths if p.is_file() and p.name != ".lock")


def jobs(folder: Path, hub: Hub) -> Iterator[Job]:
    text, events = inputs.corpus(folder / "text"), inputs.recordings(folder / "events")
    egru = inputs.write(folder / "egru.yaml", inputs.EGRU)
    stream = inputs.write(folder / "stream.yaml", inputs.STREAM)
    study = inputs.write(folder / "study.yaml", inputs.STUDY)
    model = ("best/model.safetensors",)
    yield Job(
        "training of EGRU",
        lambda out: ["egru", "train", egru, "--data", text, "--output", out, "--resume",
                     "--save-steps", 20],
        model, {},
    )  # fmt: skip
    yield Job(
        "training of STREAM",
        lambda out: ["stream", "train", stream, "--data", events, "--output", out, "--resume"],
        model, {},
    )  # fmt: skip
    yield Job(
        "a study of sparsity",
        lambda out: ["sparsity", "study", study, "--data", text, "--output", out],
        ("**/best/model.safetensors", "study.md"), {},
    )  # fmt: skip
    yield Job(
        "a compilation for SpiNNaker2",
        lambda out: ["spinnaker2", "compile", inputs.CARD, out, "--replace"],
        ("**/*",), {},
    )  # fmt: skip
    hub_variables = {
        "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_ann", "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "NO_PROXY": "127.0.0.1",
    }  # fmt: skip
    yield Job(
        "a push to a Hub",
        lambda out: ["checkpoints", "push", inputs.CARD, f"ann/{out.name}"],
        (), hub_variables, lambda out: pushed(hub, f"ann/{out.name}"),
    )  # fmt: skip


def pushed(hub: Hub, name: str) -> dict[str, bytes]:
    """The files of the newest commit; none without a commit of ours."""
    repository = hub.store.repositories.get(name)
    if repository is None:
        return {}
    return {
        path: blob.content for path, blob in repository.commits[repository.names["main"]].items()
    }


def run(job: Job, output: Path, seconds: float | None, log: Path) -> int | None:
    """The exit status; None if the process was killed after `seconds`."""
    with log.open("wb") as stream:
        process = inputs.start(job.arguments(output), stream, **job.variables)
        try:
            return process.wait(seconds if seconds is not None else LONGEST)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return None


def torture(job: Job, folder: Path, kills: int, chance: random.Random) -> dict[str, Any]:
    """Kill the job `kills` times; start it anew in a folder of its own when it has ended."""
    folder.mkdir()
    log, problems = folder / "log.txt", []
    begin = time.monotonic()
    if run(job, folder / "whole", None, log) != 0:
        return row(job, 0, 0, [f"it fails without kills: {tail(log)}"])
    seconds = time.monotonic() - begin
    whole = job.digests(folder / "whole")
    names = job.names(folder / "whole")
    done = ended = 0
    output = folder / "run0"
    while True:
        limit = chance.uniform(0.2, 1.0) * seconds if done < kills else None
        status = run(job, output, limit, log)
        problems += [f"half a file: {name}" for name in inputs.half_files(output)]
        if status is None and limit is not None:
            done += 1
            part = job.digests(output)
            if job.remote and part and part != whole and set(part) - {".gitattributes"}:
                problems.append("half a push")
            continue
        ended += 1
        if status != 0:
            problems.append(f"exit status {status}: {tail(log)}")
        elif job.digests(output) != whole:
            problems.append("another result")
        elif job.remote is None and job.names(output) != names:
            more = set(job.names(output)) ^ set(names)
            problems.append(f"other files are there: {sorted(more)[:4]}")
        if done >= kills:
            return row(job, done, ended, problems)
        output = folder / f"run{ended}"


def row(job: Job, kills: int, ended: int, problems: list[str]) -> dict[str, Any]:
    seen = f"{ended} runs to the end, all results equal" if not problems else problems[0]
    return {"what": job.name, "tried": kills, "unit": "kills", "seen": seen,
            "wrong": len(problems), "notes": problems}  # fmt: skip


def tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return " / ".join(lines[-3:])


def measure(
    folder: Path, seed: int, quick: bool, keep: Collection[str]
) -> Iterator[dict[str, Any]]:
    chance = random.Random(seed)
    with serve() as hub:
        hub.store.tokens["hf_ann"] = ("ann", True)
        for number, job in enumerate(jobs(folder, hub)):
            if job.name not in keep:
                yield torture(job, folder / f"job{number}", 1 if quick else KILLS, chance)
