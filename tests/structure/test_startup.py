"""What it costs to start: each import, and the help of each command, has a budget of modules.

Modules are counted, not seconds: a busy machine does not change them.
`python tests/benchmarks/startup.py` measures the seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

HEAVY = {
    "torch", "transformers", "torch_geometric", "timm", "mamba_ssm", "numpy", "scipy", "numba",
    "triton", "matplotlib", "PIL", "huggingface_hub", "safetensors", "yaml",
}  # fmt: skip
BUDGETS = {
    "import evenfall": 30,
    "evenfall plugins": 220,
    "the help of every command": 100,
    "import evenfall_mamba": 5,
    "import evenfall_spinnaker2": 2,
    "import evenfall_stream": 2,
}
"""Modules that a step adds to those of the steps before; all in one process, from Python's own."""

LIGHT = """
import json, sys

counts = {}

def count(what):
    names = set(sys.modules)
    heavy = sorted({name.partition(".")[0] for name in names} & set(json.loads(sys.argv[1])))
    counts[what] = (len(names - seen), heavy)
    seen.update(names)

def helps(command, name, outer):
    try:
        command.make_context(name, ["--help"], parent=outer)
    except Exit:
        shown.append(name)
    if isinstance(command, PluginCommand):
        command = command._import()
    if hasattr(command, "list_commands"):
        context = Context(command, info_name=name, parent=outer)
        for inner in command.list_commands(context):
            helps(command.get_command(context, inner), inner, context)

seen, shown = set(sys.modules), []
import evenfall
count("import evenfall")
evenfall.plugins()
from evenfall.cli.app import app
count("evenfall plugins")
from typer import Context, Exit
from typer.main import get_command
from evenfall.cli.group import PluginCommand
with open("/dev/null", "w") as sys.stdout:
    helps(get_command(app), "evenfall", None)
sys.stdout = sys.__stdout__
count("the help of every command")
for package in ("evenfall_mamba", "evenfall_spinnaker2", "evenfall_stream"):
    __import__(package)
    count(f"import {package}")
print(json.dumps({"counts": counts, "shown": shown}))
"""


@pytest.fixture(scope="module")
def light() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, json.dumps(sorted(HEAVY))], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("what", BUDGETS)
def test_a_start_imports_no_framework(light: dict[str, Any], what: str) -> None:
    count, heavy = light["counts"][what]
    assert heavy == []
    assert count <= BUDGETS[what]


def test_every_command_was_asked_for_help(light: dict[str, Any]) -> None:
    assert light["shown"][0] == "evenfall"
    assert {"plugins", "push", "egru", "train", "check", "study", "compile"} <= set(light["shown"])
    assert len(light["shown"]) > 50


HOST_BUDGETS = {
    "evenfall_kernels": 115,
    "evenfall_blocklocal": 45,
    "evenfall_egru": 40,
    "evenfall_sparsity": 50,
}
"""Modules that the import of a package adds to those of its hosts and of the packages before."""
OPTIONAL = {"timm", "peft", "matplotlib", "torchvision", "datasets", "mamba_ssm", "nir", "h5py"}

ADDED = """
import json, sys
added = {}
for package in sys.argv[1:]:
    before = set(sys.modules)
    __import__(package)
    added[package] = sorted(set(sys.modules) - before)
print(json.dumps(added))
"""


@pytest.fixture(scope="module")
def added(run_script: Callable[..., int], tmp_path_factory: Any) -> dict[str, list[str]]:
    folder = tmp_path_factory.mktemp("startup")
    (folder / "added.py").write_text(ADDED, encoding="utf-8")
    status = run_script(folder / "added.py", folder / "output", *HOST_BUDGETS)
    output = (folder / "output").read_text(encoding="utf-8")
    assert status == 0, output
    return json.loads(output.splitlines()[-1])


@pytest.mark.parametrize("package", HOST_BUDGETS)
def test_a_package_adds_little_to_its_hosts(added: dict[str, list[str]], package: str) -> None:
    names = added[package]
    assert len(names) <= HOST_BUDGETS[package]
    assert not {name.partition(".")[0] for name in names} & OPTIONAL
