"""The `evenfall` command group. A plugin's command is imported only when it, or its help, runs."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from evenfall import registry
from evenfall.cli.streams import output_to_errors
from evenfall.entries import Entry
from evenfall.errors import EvenfallError, RegistryError, closest
from evenfall.files import FULL
from evenfall.light import import_before_package
from evenfall.printing import printable
from evenfall.references import import_reference

GROUP_SETTINGS: dict[str, Any] = {
    "no_args_is_help": True,
    "add_completion": False,
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}
"""The arguments of typer.Typer for every group of commands."""


class PluginCommand(TyperCommand):
    """The placeholder of a registered command: it has the help line and imports the rest on use."""

    def __init__(self, entry: Entry) -> None:
        summary = entry.metadata.get("summary") or f"A command of {entry.owner.distribution}."
        super().__init__(name=entry.name, help=printable(summary))
        self.entry = entry

    def make_context(
        self, info_name: Any, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:
        """Make the context of the real command.

        Raises:
            ReferenceImportError: the plugin's command cannot be imported.
            RegistryError: the registered object is not a command.
        """
        return self._import().make_context(info_name, args, parent=parent, **extra)

    def _import(self) -> Any:
        what = registry.commands.described(self.entry)
        command = import_reference(self.entry.reference, what, import_before_package)
        if isinstance(command, typer.Typer):
            return typer.main.get_command(command)
        if hasattr(command, "make_context"):
            return command
        raise RegistryError(
            f"{what}: {self.entry.reference!r} is a "
            f"{type(command).__name__}, want a typer.Typer or a click command"
        )


class EvenfallGroup(TyperGroup):
    """The built-in commands, then those that plugins register."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the commands, the built-in ones first."""
        return [*super().list_commands(ctx), *registry.commands.names()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command, or None if there is none of that name."""
        built_in = super().get_command(ctx, cmd_name)
        if built_in is not None:
            return built_in
        with output_to_errors():  # the command may write JSON, and plugins may print
            if cmd_name not in registry.commands:
                return None
        return PluginCommand(registry.commands.provenance(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that `args` begin with, and the rest of them.

        Raises:
            UsageError: there is none of that name. The message has the closest names, including
                those of plugins, and the broken or blocked plugin that would provide it.
        """
        name = args[0]
        if not name.startswith("-") and self.get_command(ctx, name) is None:
            hint = closest(name, self.list_commands(ctx)) + registry.commands.failure_hint(name)
            hint = hint or " Plugins provide commands; `evenfall plugins` lists the installed ones."
            ctx.fail(f"No such command {name!r}.{hint}")
        return super().resolve_command(ctx, args)

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run. An EvenfallError, and output that cannot be written, become one line and exit code
        1, without a traceback."""
        try:
            try:
                return super().main(*args, **kwargs)
            finally:
                sys.stdout.flush()
        except EvenfallError as error:
            typer.echo(f"Error: {printable(error)}", err=True)
            sys.exit(1)
        except OSError as error:
            if error.filename is not None or error.errno not in _NOT_WRITTEN:
                raise  # not of standard output
            _drop_output()
            if error.errno != errno.EPIPE:  # the reader, such as `head`, has seen enough
                with suppress(OSError):
                    typer.echo(f"Error: the output cannot be written: {error}", err=True)
            sys.exit(1)


_NOT_WRITTEN = (*FULL, errno.EBADF, errno.EPIPE)
"""What a stream that cannot be written raises, without the name of a file."""


def _drop_output() -> None:
    """Send what standard output still holds nowhere; Python would try again when it ends."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
