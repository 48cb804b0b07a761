"""Pictures of results: whole files, and results that lack parts."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from evenfall_blocklocal.pictures import draw_blocks, draw_comparison


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
