"""docs/others.md has a line for each project and states the day of checking."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "others.md").read_text(encoding="utf-8")
PROJECTS = [
    "EvNN", "mamba_ssm", "lrnnx", "snntorch", "norse", "SpikingJelly", "BioTorch",
    "py-spinnaker2", "hls4ml",
]  # fmt: skip


def rows() -> list[list[str]]:
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| Project |"))
    table = lines[start : lines.index("", start)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_each_project_has_a_whole_line_and_a_link() -> None:
    head, _, *found = rows()
    assert head[3:] == ["What it does better", "What Evenfall has beside it"]
    assert [re.sub(r"\[([^]]+)\]\(https://\S+\)", r"\1", row[0]) for row in found] == PROJECTS
    assert all(len(row) == 5 and all(row) for row in found)


def test_the_day_of_checking_is_stated() -> None:
    assert re.search(r"were read on PyPI on \d+ \w+\s+20\d\d", PAGE)
