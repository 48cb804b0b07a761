"""`evenfall checkpoints check|push|pull`: folders and the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall import registry
from evenfall.checkpoints import Checkpoint, model_type
from evenfall.cli.checkpoint_names import checkpoint_of
from evenfall.trainers import Trainer

Name = Annotated[str, typer.Argument(help="A registered checkpoint, or a folder of your own.")]
Revision = Annotated[str | None, typer.Option(help="Branch, tag or commit; main by default.")]


def check(
    name: Name,
    evaluate: Annotated[
        bool, typer.Option("--evaluate", help="Also evaluate the model and compare with results.")
    ] = False,
    data: Annotated[Path | None, typer.Option(help="With --evaluate: the data.")] = None,
    split: Annotated[str, typer.Option(help="With --evaluate: valid or test.")] = "valid",
) -> None:
    """Find what keeps a folder from being published. Its files must be readable, its metadata must
    be what the Hub takes, and its card must be that of its results. The exit code is 1 if something
    is wrong."""
    from evenfall.cli.tools import clear_errors, console, errors
    from evenfall.hub.checking import find_problems

    if evaluate != (data is not None):
        raise typer.BadParameter("--evaluate and --data go together")
    with clear_errors():
        checkpoint = _checkpoint(name)
        folder = Path(name) if checkpoint is None else checkpoint.find()
        problems = find_problems(folder, checkpoint.make_card if checkpoint else None)
        if problems:
            for problem in problems:
                errors.print(f"Error: {problem}")
            raise typer.Exit(1)
        console.print(f"{folder} can be published", soft_wrap=True)
        if data is not None:
            recorded, got, metric = _evaluate(name, checkpoint, folder, data, split)
            console.print(f"{metric} on {split}: {got:.6g}, recorded {recorded:.6g}")
            if not abs(got - recorded) <= _TOLERANCE * abs(recorded):  # also where it is NaN
                raise ValueError(f"{name}: {metric} on {split} is {got:.6g}, not {recorded:.6g}")


_TOLERANCE = 5e-4
"""Largest relative difference of an evaluated figure: sums differ between machines."""


def push(
    name: Name,
    repo_id: Annotated[str, typer.Argument(help="The repository on the Hub: user/name.")],
    revision: Annotated[str | None, typer.Option(help="Branch; main by default.")] = None,
    message: Annotated[str | None, typer.Option(help="Message of the commit.")] = None,
    private: Annotated[
        bool | None, typer.Option("--private/--public", help="For a new repository.")
    ] = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Delete the repository's other files.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be sent; send nothing.")
    ] = False,
) -> None:
    """Send a folder to the Hugging Face Hub in one commit. Adds the model's code, if any."""
    from evenfall.cli.tools import clear_errors, console
    from evenfall.hub import pushing

    with clear_errors():
        checkpoint = _checkpoint(name)
        make_card = checkpoint.make_card if checkpoint else None
        with _complete_folder(name, checkpoint) as folder:
            if dry_run:
                plan = pushing.plan_push(folder, repo_id, revision=revision, make_card=make_card)
                _show_plan(plan, delete)
                return
            url = pushing.push(
                folder,
                repo_id,
                revision=revision,
                message=message,
                private=private,
                delete=delete,
                make_card=make_card,
            )
    console.print(f"published: {url}", soft_wrap=True)


def pull(
    name: Annotated[str, typer.Argument(help="A registered checkpoint, or user/name on the Hub.")],
    revision: Revision = None,
    cache: Annotated[Path | None, typer.Option(help="Folder of the cache.")] = None,
) -> None:
    """Fetch a checkpoint from the Hugging Face Hub, check every file, and print its folder."""
    from evenfall.cli.tools import clear_errors, console, errors
    from evenfall.hub import pulling

    with clear_errors():
        repo_id, checkpoint = name, None
        if name in registry.checkpoints:
            checkpoint = _checkpoint(name)
            assert checkpoint is not None
            if checkpoint.hub_id is None:
                raise ValueError(
                    f"checkpoint {name} has no repository on the Hub; it ships with Evenfall's "
                    "sources"
                )
            repo_id = checkpoint.hub_id
            revision = revision or checkpoint.revision
        pulled = pulling.pull(repo_id, revision=revision, cache=cache)
        if checkpoint is not None:
            checkpoint.find(pulled.folder)
    if pulled.left_out:
        errors.print(f"not fetched, since they are pickles: {', '.join(pulled.left_out)}")
    errors.print(f"{len(pulled.files)} files of commit {pulled.commit}")
    console.print(str(pulled.folder), soft_wrap=True)


def _checkpoint(name: str) -> Checkpoint | None:
    """As `checkpoint_of`; None for a folder of a model that no plugin publishes."""
    if name in registry.checkpoints or not Path(name).is_dir():
        return checkpoint_of(name)
    try:
        kind = model_type(name)
    except ValueError:
        return None  # such as timm's config.json
    types = [entry.metadata.get("model_types", []) for entry in registry.checkpoints.entries()]
    return checkpoint_of(name) if any(kind in some for some in types) else None


@contextmanager
def _complete_folder(name: str, checkpoint: Checkpoint | None) -> Iterator[Path]:
    """The folder that is sent, with the model's code if the plugin adds any."""
    if checkpoint is None:
        yield Path(name)
        return
    with tempfile.TemporaryDirectory(prefix="evenfall-") as place:
        yield checkpoint.publish(Path(place) / checkpoint.name)


def _show_plan(plan: Any, delete: bool) -> None:
    from evenfall.cli.tools import console, show_rows

    there = "does not exist yet" if plan.parent is None else f"is at commit {plan.parent[:12]}"
    console.print(f"{plan.repo_id} {there}; nothing is sent", soft_wrap=True)
    rows = [
        (name, change, f"{plan.sizes[name]:,} bytes")
        for name, change in sorted(plan.changes.items())
    ]
    rows += [(name, "deleted" if delete else "stays", "") for name in plan.others]
    show_rows(("file", "", ""), rows)


def _evaluate(
    name: str, checkpoint: Checkpoint | None, folder: Path, data: Path, split: str
) -> tuple[float, float, str]:
    """The figure in the results, the figure evaluated now, and the name of the metric."""
    from evenfall.hub import RESULTS
    from evenfall.reading import read_json

    if checkpoint is None or checkpoint.trainer is None or checkpoint.recorded is None:
        raise ValueError(f"{name}: no plugin can evaluate it; leave --evaluate out")
    results = read_json(folder / RESULTS)
    try:
        recorded = float(checkpoint.recorded(results, split))
    except (KeyError, StopIteration, TypeError) as error:
        raise ValueError(f"{folder / RESULTS} has no figure for split {split!r}") from error
    trainer: Any = registry.trainers.get_as(checkpoint.trainer, Trainer)
    metric = str(registry.trainers.provenance(checkpoint.trainer).metadata["metric"])
    return recorded, float(trainer.evaluate(folder, data, split)[metric]), metric
