"""Fifty broken plugins beside the good ones: these load, and each broken one is named."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Collection, Iterator
from itertools import islice
from os import environ, pathsep
from pathlib import Path
from typing import Any

HEAD = "from evenfall import hookimpl\nEVENFALL_API = 1\n"
ERRORS = (
    "ValueError('no')", "TypeError()", "KeyError(1)", "OSError(5, 'disk')", "ImportError('gone')",
    "MemoryError()", "RecursionError('deep')", "SystemExit(3)", "AssertionError('\\x1b[31m')",
    "UnicodeDecodeError('utf-8', b'x', 0, 1, 'bad')", "StopIteration()", "Exception('a' * 10**6)",
)  # fmt: skip
STATEMENTS = (
    "def broken(:", "import module_that_is_missing", "1 / 0", "EVENFALL_API = 99",
    "EVENFALL_API = '1'", "del EVENFALL_API", "def f(): f()\nf()",
    "class Odd(BaseException): pass\nraise Odd", "raise __import__('warnings').WarningMessage",
    "@hookimpl\ndef evenfall_register_modles(register): pass",
    "def evenfall_register_models(register): pass",
    "@hookimpl\ndef evenfall_register_models(registry): pass",
    "@hookimpl\ndef evenfall_register_models(): pass",
    "@hookimpl\nasync def evenfall_register_models(register): pass",
    "@hookimpl\ndef evenfall_register_models(register): yield",
)  # fmt: skip
CALLS = (
    "raise ValueError('later')", "raise SystemExit", "register('x', 'json:loads', summary=3)",
    "register('', 'json:loads')", "register(3, 'json:loads')", "register('x')",
    "register('x', 5)", "register('x', 'json loads')", "register('x', 'json:')",
    "register('\\x1b[2J', 'json:loads')", "register('x', 'json:loads', summary=float('nan'))",
    "register('x', None)", "register('x', 'json:loads'); register('x', 'json:dumps')",
    "register('x', 'json:loads', unknown={1, 2})", "1 / 0",
)  # fmt: skip
COUNT = 50


def sources() -> Iterator[str]:
    """Modules that do not load, then those whose hooks fail."""
    for error in ERRORS:
        yield f"raise {error}"
    yield from STATEMENTS
    for hook in ("models", "layers"):
        for call in CALLS:
            yield f"@hookimpl\ndef evenfall_register_{hook}(register):\n    {call}"


def install(folder: Path, name: str, source: str) -> None:
    """A module and its distribution, which has the entry point `name`."""
    (folder / f"{name}.py").write_text(HEAD + source + "\n", encoding="utf-8")
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[evenfall]\n{name} = {name}\n")
    (info / "RECORD").write_text("")


def statuses(*folders: Path) -> tuple[dict[str, dict[str, Any]], str]:
    """Name -> what `evenfall plugins --json` says of it, and what else is printed."""
    path = pathsep.join([*map(str, folders), environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "evenfall", "plugins", "--json"],
        capture_output=True, text=True, env={**environ, "PYTHONPATH": path},
    )  # fmt: skip
    rows = json.loads(done.stdout)
    return {
        row["name"]: row for row in (rows if isinstance(rows, list) else rows["plugins"])
    }, done.stderr


def measure(folder: Path, seed: int, quick: bool, keep: Collection[str]) -> list[dict[str, Any]]:
    good, _ = statuses()
    for number, source in enumerate(islice(sources(), 5 if quick else COUNT)):
        install(folder, f"broken{number:02d}", source)
    found, errors = statuses(folder)
    broken = {name: row for name, row in found.items() if name.startswith("broken")}
    problems = [f"{name} is ok" for name, row in broken.items() if row["status"] == "ok"]
    problems += [f"{name} says nothing" for name, row in broken.items() if not row["message"]]
    problems += [f"{name} changed" for name, row in good.items() if found.get(name) != row]
    problems += [f"{name} has control characters" for name, row in broken.items()
                 if not row["message"].isprintable()]  # fmt: skip
    problems += ["a traceback is printed"] * ("Traceback" in errors)
    seen = problems[0] if problems else f"{len(good)} good ones unchanged, broken ones named"
    return [{"what": "broken plugins beside the good ones", "tried": len(broken), "unit": "plugins",
             "seen": seen, "wrong": len(problems), "notes": problems}]  # fmt: skip
