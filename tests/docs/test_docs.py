"""The documentation holds: its code runs, its links resolve, its figures say where they come from.

A page's ```python blocks run in order in one namespace. A block is left out only when the line
above it is `<!-- no-run: reason -->`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = sorted(DOCS.glob("*.md"))
RUNNABLE = [REPOSITORY / "README.md", *PAGES]
LINKED = [
    *sorted(REPOSITORY.glob("*.md")),
    *PAGES,
    *(
        page
        for folder in ("core", "kernels", "plugins", "hub_cards")
        for page in sorted((REPOSITORY / folder).rglob("README.md"))
    ),
]
FENCE = re.compile(r"^(?P<indent> *)(?P<ticks>`{3,})(?P<language>\w*)")
RunScript = Callable[..., int]
NO_RUN = re.compile(r"<!--\s*no-run:?(?P<reason>.*?)-->")
LINK = re.compile(r"\]\((?P<target>[^)\s]+)[^)]*\)|(?:src|href)=\"(?P<attribute>[^\"]+)\"")


@dataclass(frozen=True)
class Block:
    """A fenced block: the number of its first code line, its language, its lines and its marker."""

    start: int
    language: str
    lines: tuple[str, ...]
    marker: re.Match[str] | None


def _name(page: Path) -> str:
    return str(page.relative_to(REPOSITORY))


def _blocks(text: str) -> Iterator[Block]:
    lines = text.splitlines()
    number = 0
    while number < len(lines):
        opening = FENCE.match(lines[number])
        if opening is None:
            number += 1
            continue
        start = number + 1
        closing = opening["indent"] + opening["ticks"]
        end = next(i for i in range(start, len(lines)) if lines[i].rstrip() == closing)
        above = "\n".join(lines[:number]).rstrip().rpartition("\n")[2]
        code = tuple(line.removeprefix(opening["indent"]) for line in lines[start:end])
        yield Block(start, opening["language"], code, NO_RUN.search(above))
        number = end + 1


def _script(text: str) -> str:
    """Return the page with all but its code to run blanked: tracebacks name the page's lines."""
    script = [""] * len(text.splitlines())
    for block in _blocks(text):
        if block.language == "python" and block.marker is None:
            script[block.start : block.start + len(block.lines)] = block.lines
    return "\n".join(script)


def _prose(text: str) -> str:
    """Return the text without its code, where what looks like a link is only an example."""
    for block in _blocks(text):
        if block.lines:
            text = text.replace("\n".join(block.lines), "")
    return re.sub(r"`[^`\n]+`", "", text)


def _listed(entries: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the pages of a navigation, those of its sections included."""
    for entry in entries:
        for target in entry.values():
            if isinstance(target, list):
                yield from _listed(target)
            else:
                yield target


@pytest.mark.slow
def test_a_page_runs_in_a_process_of_its_own(tmp_path: Path, run_script: RunScript) -> None:
    script, output = tmp_path / "page.py", tmp_path / "output.txt"
    script.write_text("import os\nprint(__name__, os.getcwd())\nos.kept = 1\n1 / 0\n", "utf-8")
    assert run_script(script, output) == 1
    shown = output.read_text(encoding="utf-8")
    assert shown.startswith(f"__main__ {tmp_path}\n")
    assert "line 4" in shown
    assert "ZeroDivisionError" in shown
    script.write_text("import os, sys\nsys.exit(1 if hasattr(os, 'kept') else 3)\n", "utf-8")
    assert run_script(script, output) == 3
    script.write_text("print('evenfall' in __import__('sys').modules)\n", "utf-8")
    assert run_script(script, tmp_path / "next.txt") == 0
    assert (tmp_path / "next.txt").read_text(encoding="utf-8") == "False\n"


def test_runner_keeps_line_numbers_and_skips_marked_blocks() -> None:
    plain = "# Title\n```python\na = 1\n```\n"
    marked = "<!-- no-run: why -->\n```python\nb = 2\n```\n"
    indented = "  ```python\n  c = 3\n  ```\n"
    script = _script(plain + marked + indented).splitlines()
    assert [(i, line) for i, line in enumerate(script, 1) if line] == [(3, "a = 1"), (10, "c = 3")]


@pytest.mark.slow
@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_python_blocks_run(page: Path, tmp_path: Path, run_script: RunScript) -> None:
    script = _script(page.read_text(encoding="utf-8"))
    if not script.strip():
        pytest.skip("the page has no python block to run")
    path = tmp_path / f"{page.stem}.md.py"
    path.write_text(script, encoding="utf-8")
    (tmp_path / "hub_cards").symlink_to(REPOSITORY / "hub_cards", target_is_directory=True)
    output = tmp_path / "output.txt"
    status = run_script(path, output)
    shown = output.read_text(encoding="utf-8")[-4000:]
    assert status == 0, f"{_name(page)} fails where its lines say:\n{shown}"


@pytest.mark.parametrize("page", RUNNABLE, ids=_name)
def test_skipped_blocks_say_why(page: Path) -> None:
    markers = [block.marker for block in _blocks(page.read_text(encoding="utf-8")) if block.marker]
    assert all(marker["reason"].strip() for marker in markers)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_page_starts_with_something_to_paste(page: Path) -> None:
    first = next(_blocks(page.read_text(encoding="utf-8")), None)
    assert first is not None, "the page has no fenced block"
    assert first.start <= 15, f"its first fenced block opens on line {first.start}, not by line 15"


@pytest.mark.parametrize("page", LINKED, ids=_name)
def test_relative_links_resolve(page: Path) -> None:
    found = LINK.finditer(_prose(page.read_text(encoding="utf-8")))
    targets = [(match["target"] or match["attribute"]).partition("#")[0] for match in found]
    relative = [target for target in targets if target and not re.match(r"[a-z]+:", target)]
    assert [target for target in relative if not (page.parent / target).exists()] == []


def test_navigation_lists_every_page_once() -> None:
    settings = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))
    notebooks = [f"examples/{path.stem}.md" for path in DOCS.glob("examples/*.ipynb")]
    assert sorted(_listed(settings["nav"])) == sorted([*notebooks, *(page.name for page in PAGES)])


@pytest.mark.parametrize("record", sorted(DOCS.glob("benchmarks/*/*.json")), ids=_name)
def test_benchmark_says_how_and_where(record: Path) -> None:
    content = json.loads(record.read_text(encoding="utf-8"))
    assert content.get("command"), "no command that gave these figures"
    assert content.get("machine"), "no machine that gave these figures"
