"""The built-in commands: what is installed and whether it works."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from importlib.metadata import distributions
from typing import Annotated, Any

import typer

from evenfall import registry
from evenfall.cli.checkpoint_commands import app as checkpoints
from evenfall.cli.grid import app as grid
from evenfall.cli.group import GROUP_SETTINGS, EvenfallGroup
from evenfall.cli.new import new
from evenfall.cli.quiet import quiet_hosts
from evenfall.cli.streams import output_to_errors
from evenfall.entries import Registry
from evenfall.findings import Finding
from evenfall.printing import printable
from evenfall.version import __version__

app = typer.Typer(
    name="evenfall",
    cls=EvenfallGroup,
    help="Event-based and sparse sequence models: what is installed, and the plugins' commands.",
    **GROUP_SETTINGS,
)
app.add_typer(checkpoints)
app.add_typer(grid)
app.command()(new)

Json = Annotated[bool, typer.Option("--json", help="Write JSON instead of a table.")]


def _version(show: bool) -> None:
    """Print the installed distributions whose names begin with evenfall."""
    if show:
        names = {one.name: one.version for one in distributions() if one.name}
        found = {name: names[name] for name in names if name.startswith("evenfall")}
        found["evenfall-core"] = __version__
        for name, version in sorted(found.items()):
            typer.echo(printable(f"{name} {version}"))
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the versions."),
    ] = False,
) -> None:
    """Read the options before a command."""
    quiet_hosts()


@app.command()
def plugins(
    as_json: Json = False,
    check: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Import and try all that this plugin registers instead."),
    ] = None,
) -> None:
    """List the plugins, and why any is broken. With --check, the exit code is 1 if it is broken."""
    from evenfall.cli import output

    if check is not None:
        from evenfall.conformance import check_plugin

        _report(partial(check_plugin, check), as_json)
        return
    if as_json:
        with output_to_errors():
            rows = registry.plugins()
        output.write_json([row.as_dict() for row in rows])
    else:
        output.show_plugins(registry.plugins())


@app.command()
def models(as_json: Json = False) -> None:
    """List the registered models."""
    _list(registry.models, as_json)


@app.command()
def layers(as_json: Json = False) -> None:
    """List the registered layers."""
    _list(registry.layers, as_json)


@app.command()
def operations(as_json: Json = False) -> None:
    """List the operations that have backends with a contract."""
    _list(registry.operations, as_json)


@app.command()
def patches(as_json: Json = False) -> None:
    """List the patches of other packages."""
    _list(registry.patches, as_json)


@app.command()
def callbacks(as_json: Json = False) -> None:
    """List the callbacks that recipes can name."""
    _list(registry.callbacks, as_json)


@app.command()
def counters(as_json: Json = False) -> None:
    """List the classes whose operations can be counted."""
    _list(registry.counters, as_json)


@app.command()
def datasets(as_json: Json = False) -> None:
    """List the registered datasets."""
    _list(registry.datasets, as_json)


@app.command()
def trainers(as_json: Json = False) -> None:
    """List the trainers of plugins' models."""
    _list(registry.trainers, as_json)


@app.command()
def lowerings(as_json: Json = False) -> None:
    """List the classes that can be exported."""
    _list(registry.lowerings, as_json)


@app.command()
def exporters(as_json: Json = False) -> None:
    """List the targets of evenfall.export."""
    _list(registry.exporters, as_json)


@app.command()
def splitters(as_json: Json = False) -> None:
    """List the models that state how to split them into blocks."""
    _list(registry.splitters, as_json)


@app.command()
def kernels(as_json: Json = False) -> None:
    """List the backends of each operation. They are in the order in which they are tried."""
    from evenfall import backends
    from evenfall.cli import output

    if as_json:
        output.list_entries(registry.kernels, as_json)
    else:
        output.show_kernels(
            [kernel for name in backends.operations() for kernel in backends.candidates(name)]
        )


@app.command()
def doctor(as_json: Json = False) -> None:
    """Examine the installation and advise. The exit code is 1 if something is broken."""
    from evenfall.cli.doctor import examine

    _report(examine, as_json)


def _report(examine: Callable[[], Iterable[Finding]], as_json: bool) -> None:
    """Show findings as they are made; exit with 1 if one is broken."""
    from evenfall.cli import output

    if as_json:
        with output_to_errors():
            findings = list(examine())
        output.write_json([finding.as_dict() for finding in findings])
    else:
        findings = list(output.show_findings(examine()))
    if any(finding.level == "broken" for finding in findings):
        raise typer.Exit(1)


def _list(entries: Registry[Any], as_json: bool) -> None:
    from evenfall.cli import output

    output.list_entries(entries, as_json)
