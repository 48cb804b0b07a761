"""Pictures of results: whole files, and results that lack parts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from evenfall_blocklocal.cli import app
from evenfall_blocklocal.pictures import draw_blocks, draw_comparison, draw_numbers


def result(rule: str, **parts: Any) -> dict[str, Any]:
    return {"rule": rule, "test_accuracy": 0.5, "seconds": 3.0, **parts}


def test_runs_without_probes_and_blocks_without_gradient_are_drawn(tmp_path) -> None:
    results = [
        result("bll", probes=[0.3, 0.5], alignment=[0.1, 1.0]),
        result("frozen", probes=[0.2, 0.4], alignment=[None, 1.0]),
        *(result(f"rule {index}") for index in range(7)),
    ]
    for draw in (draw_comparison, draw_blocks):
        first, second = draw(results, tmp_path / "a.png"), draw(results, tmp_path / "b.png")
        assert first.read_bytes() == second.read_bytes()
        assert first.read_bytes().startswith(b"\x89PNG")


def test_no_results_are_an_error(tmp_path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        draw_comparison([], tmp_path / "a.png")


def test_a_grid_is_drawn_against_the_number_of_blocks(tmp_path) -> None:
    cells = [
        {"cell": f"{rule} {blocks}", "changes": {"rule": rule, "blocks": blocks},
         "figures": {"test": {"accuracy": {"values": [0.5, 0.6]}}}}
        for rule in ("bll", "local-ce") for blocks in (2, 16)
    ]  # fmt: skip
    (tmp_path / "grid.json").write_text(json.dumps({"cells": cells}))
    done = CliRunner().invoke(app, ["picture", str(tmp_path)])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "blocks.png").read_bytes().startswith(b"\x89PNG")
    del cells[0]["changes"]["blocks"]
    with pytest.raises(ValueError, match="'bll 2' must have a rule, a number of blocks"):
        draw_numbers({"cells": cells}, tmp_path / "none.png")
