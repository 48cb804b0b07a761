"""The plugin in docs/writing-a-plugin.md works as printed."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-plugin.md"
BLOCK = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)


@pytest.fixture
def example(site):
    """The files of the page in one folder, installed."""
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        path = site.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (site.folder / "evenfall_leaky" / "__init__.py").touch()
    project = tomllib.loads((site.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    points = "".join(
        f"{key} = {value}\n" for key, value in project["entry-points"]["evenfall"].items()
    )
    site.write_metadata(project["name"], f"[evenfall]\n{points}", project["version"])
    return site


def evenfall(example, *arguments: str) -> str:
    done = example.run("-m", "evenfall", *arguments, EVENFALL_PLUGINS="leaky")
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_hook_of_the_page_is_one() -> None:
    text = PAGE.read_text(encoding="utf-8")
    hooks = re.findall(r"^(.*)\ndef evenfall_register_", text, re.MULTILINE)
    assert len(hooks) >= 5
    assert set(hooks) == {"@hookimpl"}


def test_it_is_listed_with_all_it_provides(example) -> None:
    rows = {row["name"]: row for row in json.loads(evenfall(example, "plugins", "--json"))}
    assert rows["leaky"]["status"] == "ok"
    assert rows["leaky"]["provides"] == {
        "layers": ["leaky"],
        "operations": ["leaky_scan"],
        "kernels": ["leaky_scan/matmul", "leaky_scan/reference"],
        "commands": ["leaky"],
    }


def test_its_command_writes_what_the_page_says(example) -> None:
    pytest.importorskip("torch")
    written = evenfall(example, "leaky", "--steps", "4").strip()
    assert f"writes `{written}`" in PAGE.read_text(encoding="utf-8")


@pytest.mark.slow
def test_its_battery_passes(example) -> None:
    pytest.importorskip("torch")
    battery = str(example.folder / "test_leaky.py")
    done = example.run(
        "-m", "pytest", battery, "-q", "-p", "no:cacheprovider", EVENFALL_PLUGINS="leaky"
    )
    assert done.returncode == 0, done.stdout
    assert "38 passed" in done.stdout


@pytest.mark.slow
def test_a_kernel_that_is_wrong_fails_the_battery(example) -> None:
    pytest.importorskip("torch")
    layer = example.folder / "evenfall_leaky" / "layer.py"
    layer.write_text(
        layer.read_text(encoding="utf-8").replace("x @ weights.T", "x @ weights.T.detach()"),
        encoding="utf-8",
    )
    battery = str(example.folder / "test_leaky.py")
    done = example.run(
        "-m", "pytest", battery, "-q", "-p", "no:cacheprovider", EVENFALL_PLUGINS="leaky"
    )
    assert done.returncode == 1
    assert "gradient of decay: relative error" in done.stdout


def test_every_switch_and_hook_is_on_the_page() -> None:
    from evenfall import backends, hookspecs, switches

    text = PAGE.read_text(encoding="utf-8")
    names = [name for name in vars(hookspecs) if name.startswith("evenfall_")]
    for name in [*names, switches.ALLOW, switches.BLOCK, switches.STRICT, backends.VARIABLE]:
        assert name in text
