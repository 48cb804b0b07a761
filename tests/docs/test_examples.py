"""The notebooks of docs/examples/ run, with small sizes, and have the outputs of a whole run."""

from __future__ import annotations

import base64
import json
import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "docs" / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))
SMALL = {
    "block-local": {"STEPS": 2},
    "clouds-and-events": {"CLOUDS": 6, "RECORDINGS": 8, "EPOCHS": 1},
    "mamba-laptop": {"LENGTHS": [8, 16], "ROUNDS": 1},
    "on-the-chip": {"WORDS": 3},
    "own-plugin": {"STEPS": 2},
    "own-text": {"LINES": 60, "STEPS": 1},
    "pruning": {"WORDS": 20, "AMOUNTS": [0.0, 0.8], "ROUNDS": 1},
}
"""Other values for the names that the first cell of a notebook sets."""
MOST_BYTES = 250_000
RunScript = Callable[..., int]


def _cells(path: Path, kind: str) -> list[dict[str, Any]]:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    return [cell for cell in cells if cell["cell_type"] == kind]


def _script(path: Path, sizes: dict[str, Any]) -> str:
    first, *others = ("".join(cell["source"]) for cell in _cells(path, "code"))
    for name, value in sizes.items():
        first, found = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value!r}", first)
        assert found == 1, f"{path.name}: its first cell does not set {name}"
    return "\n\n".join([first, *others])


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path: Path, tmp_path: Path, run_script: RunScript) -> None:
    folder = tmp_path / "docs" / "examples"
    folder.mkdir(parents=True)
    (tmp_path / "hub_cards").symlink_to(REPOSITORY / "hub_cards", target_is_directory=True)
    script, output = folder / f"{path.stem}.py", tmp_path / "output.txt"
    script.write_text(_script(path, SMALL[path.stem]), encoding="utf-8")
    status = run_script(script, output)
    assert status == 0, output.read_text(encoding="utf-8")[-4000:]


def test_there_is_one_for_each_kind_of_user() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(SMALL)
    listed = re.findall(r"examples/([\w-]+)\.ipynb", (REPOSITORY / "docs/examples.md").read_text())
    assert sorted(listed) == sorted(SMALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_those_of_a_whole_run_in_order(path: Path) -> None:
    cells = _cells(path, "code")
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    kinds = {output["output_type"] for cell in cells for output in cell["outputs"]}
    assert kinds <= {"stream", "display_data", "execute_result"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_pictures_are_small_and_have_a_text(path: Path) -> None:
    pictures = [
        (cell["metadata"].get("alt"), base64.b64decode(output["data"]["image/png"]))
        for cell in _cells(path, "code")
        for output in cell["outputs"]
        if "image/png" in output.get("data", {})
    ]
    assert pictures
    assert all(alt for alt, _ in pictures)
    assert sum(len(picture) for _, picture in pictures) < MOST_BYTES


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_of_the_machine_is_kept(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r'/(?:home|root|tmp|work|usr)/|"iopub|"name": "stderr"', text)
    metadata = json.loads(text)["metadata"]
    assert metadata["language_info"] == {"name": "python"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_a_notebook_resolve(path: Path) -> None:
    text = "\n".join("".join(cell["source"]) for cell in _cells(path, "markdown"))
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", text)]
    relative = [target for target in targets if not re.match(r"[a-z]+:", target)]
    assert relative
    assert [target for target in relative if not (EXAMPLES / target).exists()] == []


def test_a_page_of_the_site_has_text_code_outputs_and_pictures() -> None:
    convert = runpy.run_path(str(REPOSITORY / "tools" / "notebook_pages.py"))["convert"]
    data = {"image/png": base64.b64encode(b"png").decode()}
    picture = {"output_type": "display_data", "data": data}
    printed = {"output_type": "stream", "name": "stdout", "text": ["a ``` fence\n", "\x1b[1mend"]}
    cells = [
        {"cell_type": "markdown", "source": ["# Title\n", "See [more](other.ipynb#there)."]},
        {"cell_type": "code", "source": ["run()"], "outputs": [printed, picture],
         "metadata": {"alt": "a knot"}},
    ]  # fmt: skip
    text, pictures = convert({"cells": cells}, "mine")
    assert text.startswith("# Title\n\n[Download this notebook](mine.ipynb)")
    assert "[more](other.md#there)" in text
    assert "```python\nrun()\n```" in text
    assert '````text title="Output"\na ``` fence\nend\n````' in text
    assert text.endswith("![a knot](mine-1.png)\n")
    assert pictures == {"mine-1.png": b"png"}
