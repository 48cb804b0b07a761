"""`evenfall checkpoints`: list the registered checkpoints, and make folders to publish."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from evenfall import registry
from evenfall.checkpoints import Checkpoint, model_type
from evenfall.cli.group import GROUP_SETTINGS
from evenfall.errors import RegistryError, UnknownNameError

Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]

app = typer.Typer(
    name="checkpoints",
    help="List the registered checkpoints, or make a folder to publish.",
    **{**GROUP_SETTINGS, "no_args_is_help": False},
)


@app.callback(invoke_without_command=True)
def checkpoints(context: typer.Context, as_json: Json = False) -> None:
    """List the registered checkpoints, or make a folder to publish."""
    if context.invoked_subcommand is None:
        _show(as_json)
    elif as_json:
        context.fail(f"--json must come after {context.invoked_subcommand!r}")


@app.command("list")
def list_checkpoints(as_json: Json = False) -> None:
    """List the registered checkpoints."""
    _show(as_json)


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


def checkpoint_of(name: str) -> Checkpoint:
    """The registered checkpoint `name`, or that of the folder `name`, which is published like the
    registered checkpoints of its model type.

    Raises:
        UnknownNameError: there is neither.
        FileNotFoundError: the folder has no config.json.
        ValueError: no registered checkpoint has the folder's model type.
        RegistryError: a plugin registered an object that is not a Checkpoint.
    """
    if name in registry.checkpoints:
        return _registered(name)
    if not Path(name).is_dir():
        try:
            return _registered(name)
        except UnknownNameError as error:
            raise UnknownNameError(f"{error} There is no folder of that name either.") from None
    kind, known = model_type(name), []
    for entry in registry.checkpoints.entries():
        types = entry.metadata.get("model_types", [])
        if kind in types:
            return dataclasses.replace(
                _registered(entry.name),
                name=Path(name).resolve().name,
                folder=Path(name).resolve(),
                hashes={},
                hub_id=None,
                revision=None,
            )
        known += types
    raise ValueError(
        f"folder {name}: no plugin publishes model_type {kind!r}; known are {sorted(set(known))}"
    )


def _registered(name: str) -> Checkpoint:
    checkpoint = registry.checkpoints.get(name)
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    entry = registry.checkpoints.provenance(name)
    raise RegistryError(
        f"checkpoint {name!r} of {entry.owner}: {entry.reference!r} is a "
        f"{type(checkpoint).__name__}, want an evenfall.checkpoints.Checkpoint"
    )


def _show(as_json: bool) -> None:
    from evenfall.cli import output

    output.list_entries(registry.checkpoints, as_json)
