"""`evenfall checkpoints`: list the registered checkpoints, make, check, send and fetch folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evenfall import registry
from evenfall.cli.checkpoint_names import checkpoint_of
from evenfall.cli.group import GROUP_SETTINGS
from evenfall.cli.hub_commands import check, pull, push

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
    from evenfall.cli import output

    output.list_entries(registry.checkpoints, as_json)
