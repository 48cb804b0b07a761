"""The command `eventide egru`. What a command needs is imported when it runs."""

from __future__ import annotations

import typer

from .convert import convert
from .demo import demo
from .evaluate import evaluate
from .generate import generate
from .pack import pack
from .train import train

app = typer.Typer(
    name="egru",
    help="EGRU language models: train, evaluate, generate, convert, publish.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _command in (train, evaluate, generate, convert, pack, demo):
    app.command()(_command)
