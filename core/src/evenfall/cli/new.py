"""`evenfall new`: a plugin project that works, with types and tests."""

from __future__ import annotations

import builtins
import keyword
import re
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from evenfall import registry
from evenfall.errors import shorten
from evenfall.owners import OWN_PLUGINS
from evenfall.version import __version__

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MOST_CHARACTERS = 60


def new(
    name: Annotated[str, typer.Argument(help="Name of the plugin, such as leaky.")],
    folder: Annotated[
        Path | None, typer.Option(help="Folder to create. [default: evenfall-NAME]")
    ] = None,
) -> None:
    """Write a plugin project that works, with tests."""
    from evenfall.cli.tools import clear_errors, console

    with clear_errors():
        made = make_project(name, folder)
    name = _plugin_name(name)
    console.print(f"wrote {made}; next:", soft_wrap=True)
    for line in (
        f"cd {made}",
        "pip install -e '.[test]'",
        f"evenfall plugins --check {name}",
        "pytest",
    ):
        console.print(f"  {line}", soft_wrap=True)


def make_project(name: str, folder: str | Path | None = None) -> Path:
    """Write a plugin project from the template.

    Args:
        name: the plugin's name, lower-case words with hyphens; a leading "evenfall-" is dropped.
        folder: the folder, which appears whole or not at all; None for "evenfall-NAME".

    Returns:
        The folder.

    Raises:
        FileExistsError: the folder exists.
        ValueError: the name is malformed, or a plugin has it already.
    """
    from evenfall.files import write_text, written_aside

    name = _plugin_name(name)
    _check_name(name)
    module = name.replace("-", "_")
    major, minor = __version__.split(".")[:2]
    words = {
        "@NAME@": name,
        "@MODULE@": module,
        "@CLASS@": _class_name(name),
        "@TITLE@": name.replace("-", " ").capitalize(),
        "@CORE@": f"{major}.{minor}",
        "@NEXT@": f"{major}.{int(minor) + 1}",
    }
    output = Path(f"evenfall-{name}") if folder is None else Path(folder)
    with written_aside(output) as place:
        for source in files("evenfall.cli").joinpath("template").iterdir():
            text = source.read_text(encoding="utf-8")
            for word, replacement in words.items():
                text = text.replace(word, replacement)
            write_text(place / _path(source.name.removesuffix(".txt"), module), text)
        write_text(place / "src" / f"evenfall_{module}" / "py.typed", "")
    return output


def _path(name: str, module: str) -> Path:
    """Where a file of the template belongs in the project."""
    if name == "gitignore":
        return Path(".gitignore")
    if not name.endswith(".py"):
        return Path(name)
    if name.startswith("tests_"):
        return Path("tests") / name.replace("tests_", "test_", 1)
    return Path("src") / f"evenfall_{module}" / name


def _plugin_name(name: str) -> str:
    return name.removeprefix("evenfall-")


def _class_name(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("-"))


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > _MOST_CHARACTERS:
        raise ValueError(
            f"name must be lower-case words with hyphens, at most {_MOST_CHARACTERS} characters, "
            f"such as leaky-integrator, got {shorten(name)}"
        )
    if keyword.iskeyword(name) or _class_name(name) in {*keyword.kwlist, *dir(builtins), "Tensor"}:
        raise ValueError(f"name {name!r} is a word of Python or PyTorch; choose another one")
    taken = {row.name for row in registry.plugins()}
    own = {*OWN_PLUGINS, "evenfall-core"}
    if f"evenfall-{name}" in own or name in taken or name in registry.BUILT_IN_COMMANDS:
        raise ValueError(f"name {name!r} is taken by a plugin or command; choose another one")
