"""Hold one plugin to what its hooks promise: `evenfall plugins --check NAME`.

Everything that the plugin registered is imported and must be of its kind; backends run the tiny
call of their operation.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

from evenfall import registry
from evenfall.backends import candidates
from evenfall.checkpoints import Checkpoint
from evenfall.contracts import Operation
from evenfall.counting import Counter
from evenfall.entries import Entry
from evenfall.errors import ReferenceImportError, UnknownNameError, closest, shorten
from evenfall.findings import Finding
from evenfall.lowering import Lowering
from evenfall.manager import PluginStatus
from evenfall.patches import Patch
from evenfall.references import import_reference
from evenfall.runs import Callback
from evenfall.splitters import Splitter
from evenfall.switches import ALLOW
from evenfall.trainers import Trainer
from evenfall.trials import try_backends

HEAVY = ("torch", "transformers", "torch_geometric", "timm", "numba", "numpy", "triton")
"""What a plugin's module must not import: every `evenfall` command would wait for it."""
BY_CLASS = ("counters", "lowerings", "splitters")
"""Registries whose names are public paths of classes."""


def check_plugin(name: str) -> list[Finding]:
    """Import and examine everything that the plugin registers.

    Raises:
        UnknownNameError: no such plugin is installed.
    """
    rows = [row for row in registry.plugins() if row.name == name]
    if not rows:
        names = [row.name for row in registry.plugins()]
        raise UnknownNameError(f"unknown plugin {name!r}.{closest(name, names)}")
    return [finding for row in rows for finding in _examine(row)]


def _examine(row: PluginStatus) -> Iterator[Finding]:
    subject = f"plugin {row.name}"
    if row.status != "ok":
        advice = f"For the traceback: EVENFALL_STRICT=1 {ALLOW}={row.name} evenfall plugins"
        yield Finding("broken", subject, f"{row.status}: {row.message}", advice)
        return
    yield Finding("ok", subject, f"{row.distribution} {row.version}")
    if row.message:
        yield Finding("warning", subject, row.message, "Choose names that begin with yours.")
    if not row.provides:
        yield Finding("broken", subject, "it registers nothing", "Implement a hook.")
    yield from _imports(row.name)
    for kind, names in row.provides.items():
        for one in names:
            entry = registry.ALL[kind].provenance(one)
            yield from _metadata(kind, entry)
            yield from _kernel(entry) if kind == "kernels" else _entry(kind, entry)


def _imports(name: str) -> Iterator[Finding]:
    code = (
        "import sys, evenfall; evenfall.load_plugins(); "
        f"print(*[name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {ALLOW: name, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
    )
    lines = done.stdout.splitlines()
    loaded = lines[-1] if lines and done.returncode == 0 else ""
    if loaded:
        advice = "Register references as strings; import hosts in the modules that they name."
        detail = f"its module imports {', '.join(loaded.split())}"
        yield Finding("warning", f"plugin {name}", detail, advice)


def _metadata(kind: str, entry: Entry) -> Iterator[Finding]:
    if kind == "kernels" or kind in BY_CLASS:
        return
    if entry.metadata.get("summary") is None:
        advice = f"register({entry.name!r}, ..., summary=...) with one line."
        yield Finding("warning", _subject(kind, entry), "has no metadata summary", advice)


def _entry(kind: str, entry: Entry) -> Iterator[Finding]:
    subject = _subject(kind, entry)
    try:
        value = import_reference(entry.reference, subject)
        problem = _CHECKS[kind](value, entry)
        if problem is None and kind in BY_CLASS:
            problem = _class_problem(entry.name)
    except ReferenceImportError as error:
        advice = "Correct the reference, or install what it needs."
        yield Finding("broken", subject, str(error), advice)
        return
    if problem is None:
        yield Finding("ok", subject, entry.reference)
    else:
        advice = "docs/writing-a-plugin.md says what each hook registers."
        yield Finding("broken", subject, f"{entry.reference!r} {problem}", advice)


def _kernel(entry: Entry) -> Iterator[Finding]:
    operation, backend = entry.metadata["operation"], entry.metadata["backend"]
    subject = _subject("kernels", entry)
    (kernel,) = (one for one in candidates(operation) if one.backend == backend)
    problem = kernel.problem()
    if problem is not None:
        broken = kernel.breaks_contract()
        advice = "The contract says what it must offer." if broken else "Install what it lacks."
        yield Finding("broken" if broken else "warning", subject, problem, advice)
        return
    try:
        trials = [one for one in try_backends(operation) if one.backend == backend]
    except ReferenceImportError as error:
        yield Finding("warning", subject, str(error), "Install what it lacks.")
        return
    for trial in trials:
        if trial.problem is not None:
            advice = "Run the battery of evenfall.testing.kernels."
            yield Finding(
                "broken", subject, f"a tiny call on {trial.place}: {trial.problem}", advice
            )
    if not trials:
        yield Finding("ok", subject, f"{entry.reference}; no tiny call here")
    elif all(one.problem is None for one in trials):
        places = ", ".join(one.place for one in trials)
        yield Finding("ok", subject, f"{entry.reference}; agrees with the reference on {places}")


def _subject(kind: str, entry: Entry) -> str:
    return f"{registry.ALL[kind].kind} {entry.name}"


def _class_problem(path: str) -> str | None:
    """Why the public path of a class names none; None if it does, or its package is absent."""
    module, _, name = path.rpartition(".")
    try:
        found = import_reference(f"{module}:{name}", path)
    except ReferenceImportError as error:
        absent = error.__cause__
        if isinstance(absent, ModuleNotFoundError) and absent.name == path.partition(".")[0]:
            return None
        return f"is registered for {path!r}, which cannot be imported: {absent}"
    return None if isinstance(found, type) else f"is registered for {path!r}, which is not a class"


def _want(kind: type, where: str) -> Callable[[object, Entry], str | None]:
    def check(value: object, entry: Entry) -> str | None:
        got = type(value).__name__
        return None if isinstance(value, kind) else f"is a {got}, want an {where}.{kind.__name__}"

    return check


def _callable(value: object, entry: Entry) -> str | None:
    return None if callable(value) else f"is a {type(value).__name__}, want a class or a function"


def _callback(value: object, entry: Entry) -> str | None:
    if isinstance(value, type) and issubclass(value, Callback):
        return None
    return f"is {shorten(value)}, want a subclass of evenfall.runs.Callback"


def _checkpoint(value: object, entry: Entry) -> str | None:
    problem = _want(Checkpoint, "evenfall.checkpoints")(value, entry)
    if isinstance(value, Checkpoint) and value.name != entry.name:
        return f"has the name {value.name!r}, want {entry.name!r}"
    for name in ("folder", "hub_id", "revision"):  # `evenfall checkpoints` reads them there
        if name in entry.metadata and entry.metadata[name] != getattr(value, name, None):
            got, want = shorten(entry.metadata[name]), shorten(getattr(value, name, None))
            return f"is registered with the metadata {name}={got}, want {want}"
    return problem


def _command(value: object, entry: Entry) -> str | None:
    import click
    import typer

    if isinstance(value, typer.Typer | click.Command):
        return None
    return f"is a {type(value).__name__}, want a typer.Typer or a click command"


def _operation(value: object, entry: Entry) -> str | None:
    problem = _want(Operation, "evenfall.contracts")(value, entry)
    if isinstance(value, Operation) and not getattr(value.contract, "_is_protocol", False):
        return f"has the contract {shorten(value.contract)}, want a typing.Protocol"
    return problem


_CHECKS: dict[str, Callable[[Any, Entry], str | None]] = {
    "layers": _callable,
    "models": _callable,
    "operations": _operation,
    "patches": _want(Patch, "evenfall.patches"),
    "checkpoints": _checkpoint,
    "commands": _command,
    "callbacks": _callback,
    "counters": _want(Counter, "evenfall.counting"),
    "datasets": _callable,
    "trainers": _want(Trainer, "evenfall.trainers"),
    "lowerings": _want(Lowering, "evenfall.lowering"),
    "exporters": _callable,
    "splitters": _want(Splitter, "evenfall.splitters"),
}
"""Registry to what is wrong with a value that was registered there; all but "kernels"."""
