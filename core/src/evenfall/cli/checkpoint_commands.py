"""`evenfall checkpoints`: list the registered checkpoints, make, check, send and fetch folders."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from evenfall import registry
from evenfall.checkpoints import Checkpoint, locate
from evenfall.cli.checkpoint_names import checkpoint_of
from evenfall.cli.group import GROUP_SETTINGS
from evenfall.cli.hub_commands import check, pull, push
from evenfall.cli.streams import output_to_errors
from evenfall.entries import Entry
from evenfall.errors import EvenfallError
from evenfall.hub.digests import digest_of

Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]

app = typer.Typer(
    name="checkpoints",
    help="List, check, publish, send and fetch checkpoints.",
    **{**GROUP_SETTINGS, "no_args_is_help": False},
)


@app.callback(invoke_without_command=True)
def checkpoints(context: typer.Context, as_json: Json = False) -> None:
    """List, check, publish, send and fetch checkpoints."""
    if context.invoked_subcommand is None:
        _show(as_json)
    elif as_json:
        context.fail(f"--json must come after {context.invoked_subcommand!r}")


@app.command("list")
def list_checkpoints(as_json: Json = False) -> None:
    """List the registered checkpoints."""
    _show(as_json)


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A registered checkpoint, or a folder of your own.")],
    as_json: Json = False,
) -> None:
    """Show where a checkpoint is, its files, and whether they are the published ones."""
    from evenfall.cli import output
    from evenfall.cli.tools import clear_errors, show_facts

    with clear_errors(), output_to_errors() if as_json else nullcontext():
        checkpoint = checkpoint_of(name)
        found = locate(checkpoint.folder, checkpoint.hub_id, checkpoint.revision)
        files = {} if found is None else _examine(checkpoint, found)
    facts = {
        "name": checkpoint.name,
        "hub_id": checkpoint.hub_id,
        "revision": checkpoint.revision,
        "folder": None if found is None else str(found.resolve()),
    }
    if as_json:
        output.write_json({**facts, "files": files})
    else:
        rows = [(key, "none" if value is None else value) for key, value in facts.items()]
        rows += [(one, f"{file['bytes']:,} bytes, {file['state']}") for one, file in files.items()]
        show_facts(checkpoint.name, rows)
    if found is None or any(file["state"] in (_DIFFERS, _MISSING) for file in files.values()):
        raise typer.Exit(1)


_DIFFERS, _MISSING = "differs from the published file", "missing"


def _examine(checkpoint: Checkpoint, folder: Path) -> dict[str, dict[str, Any]]:
    """Size and state of each file, also of published ones that are missing."""
    files: dict[str, dict[str, Any]] = {}
    here = replace(checkpoint, folder=folder, hashes={}).files
    for name in [*here, *(name for name in checkpoint.hashes if name not in here)]:
        wanted, path = checkpoint.hashes.get(name), here.get(name)
        if path is None:
            state = _MISSING
        elif wanted is None:
            state = "has no published hash"
        else:
            state = "as published" if digest_of(path) == wanted else _DIFFERS
        size = 0 if path is None else path.stat().st_size
        files[name] = {"bytes": size, "sha256": wanted, "state": state}
    return files


@app.command()
def publish(
    name: Annotated[str, typer.Argument(help="A registered checkpoint, or a folder of your own.")],
    output: Annotated[Path, typer.Argument(help="Folder to create.")],
    folder: Annotated[
        Path | None,
        typer.Option(help="Folder of the registered checkpoint, if not in the checkout."),
    ] = None,
) -> None:
    """Make the folder that users get. Adds the model's code, if any; evaluates nothing."""
    from evenfall.cli.tools import clear_errors, console

    with clear_errors():
        checkpoint = checkpoint_of(name)
        if folder is not None and name not in registry.checkpoints:
            raise ValueError(f"--folder is for registered checkpoints, and {name} is a folder")
        made = checkpoint.publish(output, folder=folder)
    console.print(f"ready to upload: {made}", soft_wrap=True)


for _command in (check, push, pull):
    app.command()(_command)


def _show(as_json: bool) -> None:
    """The list: entries, and the folder of each on this machine."""
    from evenfall.cli import output

    with output_to_errors() if as_json else nullcontext():
        rows = [(entry, _place(entry)) for entry in registry.checkpoints.entries()]
    if as_json:
        output.write_json([{**entry.as_dict(), "where": place} for entry, place in rows])
    else:
        output.show_entries(registry.checkpoints, {entry.name: place for entry, place in rows})


def _place(entry: Entry) -> str | None:
    """Where the checkpoint is, from the metadata `folder`, `hub_id` and `revision`, or else from
    the checkpoint itself, which imports its plugin."""
    facts: Mapping[str, Any] = entry.metadata
    if "folder" not in facts:
        try:
            facts = vars(registry.checkpoints.get_as(entry.name, Checkpoint))
        except EvenfallError:
            return None
    found = locate(facts["folder"], facts.get("hub_id"), facts.get("revision"))
    return None if found is None else str(found.resolve())
