"""The answers of a study, on a table whose answers are known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from evenfall_sparsity.study import draw_curves, study_text
from evenfall_sparsity.study.summary import best_reduction, dense_row, list_points, metric_rise


def row(
    method: str | None, level: float, steps: int, valid: float, effective: float, seed: int = 1
) -> dict[str, Any]:
    """A row of a model "net" with 60 MACs in its layers and 40 in its decoder."""
    macs = {
        "first layer's input": {"dense": 20.0, "effective": 20.0},
        "hidden": {"dense": 40.0, "effective": effective},
        "decoder": {"dense": 40.0, "effective": 40.0},
    }
    macs["total"] = {kind: sum(p[kind] for p in macs.values()) for kind in ("dense", "effective")}
    return {
        "run": f"net/{seed}/{method}/{level}", "model": "net", "seed": seed, "method": method,
        "level": level, "steps": steps, "prunes": method == "cut",
        "metrics": {"valid": {"ppl": valid}, "test": {"ppl": valid - 1}},
        "counts": {"macs": macs, "density": 1 - level, "activity": 0.5, "weights": 60},
    }  # fmt: skip


@pytest.fixture
def table() -> dict[str, Any]:
    return {
        "trainer": "toy", "metric": "ppl", "greater_is_better": False, "baseline": "net",
        "levels": [0.5, 0.9], "splits": ["valid", "test"],
        "runs": [
            row(None, 0, 0, 102.0, 20.0),
            row("none", 0.5, 1, 101.0, 20.0),
            row("none", 0.9, 2, 100.0, 20.0),
            row("cut", 0.5, 1, 104.0, 10.0),
            row("cut", 0.9, 2, 120.0, 4.0),
            row(None, 0, 0, 104.0, 20.0, seed=2),
            row("cut", 0.5, 1, 105.0, 10.0, seed=2),
            {"run": "net/2/cut/0.9", "model": "net", "failure": "ValueError: no"},
        ],
    }  # fmt: skip


def test_a_pruned_line_is_compared_with_the_best_dense_run_of_its_seed(
    table: dict[str, Any],
) -> None:
    rows = table["runs"]
    assert dense_row(table, rows[4]) is rows[2]
    assert dense_row(table, rows[6]) is rows[5]
    assert metric_rise(table, rows[4]) == pytest.approx(0.2)
    assert metric_rise(table, rows[4], "test") == pytest.approx(20 / 99)
    table["greater_is_better"] = True
    assert dense_row(table, rows[4]) is rows[0]
    assert metric_rise(table, rows[4]) == pytest.approx(-18 / 102)


def test_points_are_means_over_seeds(table: dict[str, Any]) -> None:
    points = {(point.method, point.level): point for point in list_points(table)}
    assert len(points) == 5
    figure = points["cut", 0.5].metric("valid", "ppl")
    assert (figure.mean, figure.deviation) == (104.5, pytest.approx(0.5**0.5))
    assert points["cut", 0.9].metric("valid", "ppl").deviation is None
    assert points["cut", 0.5].reduction("total") == pytest.approx(100 / 70)
    assert points["cut", 0.5].reduction("first layer's input", "hidden") == pytest.approx(2)


def test_the_largest_reduction_is_within_five_percent(table: dict[str, Any]) -> None:
    point, reduction = best_reduction(table, "net", "first layer's input", "hidden") or (None, 0)
    assert point is not None
    assert (point.method, point.level) == ("cut", 0.5)
    assert reduction == pytest.approx(2)
    assert best_reduction(table, "net", "total", tolerance=0.25)[1] == pytest.approx(100 / 64)  # type: ignore[index]
    assert best_reduction(table, "net", "total", tolerance=-1) is None


def test_the_report_has_the_table_the_answers_and_the_failures(table: dict[str, Any]) -> None:
    text = study_text(table)
    assert "| net | start | 0 % | 2 | 103.00 ± 1.4 | 102.00 ± 1.4 | 50.0 % | 100.0 % |" in text
    assert "| net | none, 2 more | 0 % | 1 | 100.00 | 99.00 |" in text
    assert "| net | cut | 90 % | 1 | 120.00 | 119.00 | 50.0 % | 10.0 % | 0.000 |" in text
    assert "1.6x | 2.5x |" in text
    assert "- net: the largest reduction of MACs within 5 % of its dense ppl is 1.4x" in text
    assert "2.0x, counted over all but the decoder (cut at 50 %)" in text
    assert "| net | cut | +2.5 ± 2.1 | +20.0 |" in text
    assert "net/2/cut/0.9 failed: ValueError: no" in text
    assert "tokens/s" not in text


def test_rises_are_compared_with_those_of_the_baseline(table: dict[str, Any]) -> None:
    quiet = [dict(one, model="quiet") for one in table["runs"][:5] if "metrics" in one]
    quiet[3]["metrics"] = {"valid": {"ppl": 110.0}, "test": {"ppl": 110.0}}
    table["runs"] += quiet
    text = study_text(table)
    assert "| quiet | cut | +10.0 | +20.0 |" in text
    assert "| quiet - net | cut | +6.0 | +0.0 |" in text  # of seed 1, which both have
    assert "net - net" not in text


def test_speeds_have_columns(table: dict[str, Any]) -> None:
    table["runs"][4]["speeds"] = {
        "as it is": {"loop": 800, "generate": 700, "bytes": 3e6},
        "compressed": {"loop": 1234.6, "generate": 900, "bytes": 1.5e6},
        "rounded": {"loop": 1500, "generate": 850, "bytes": 1e6},
    }
    text = study_text(table)
    assert (
        "| matrices, MB | loop, tokens/s | generate, tokens/s | loop, rounded weights, tokens/s |"
        in text
    )
    assert "| 1.50 | 1,235 | 900 | 1,500 | 900 |" in text
    assert "| - | - | - | - | - |" in text


def test_a_trainer_without_counts_has_a_table_too(table: dict[str, Any]) -> None:
    for one in table["runs"]:
        one["counts"] = None
    assert "| net | cut | 90 % | 1 | 120.00 | 119.00 | - | - | - | - | - | - | - |" in study_text(
        table
    )


def test_pictures_are_drawn_for_what_is_known(table: dict[str, Any], tmp_path: Path) -> None:
    assert [file.name for file in draw_curves(table, tmp_path)] == ["macs.png"]
    for one in table["runs"]:
        speed = 1000 / one["level"] if one.get("level") else 800
        one["speeds"] = {"as it is": {"loop": speed, "bytes": 1}}
    files = draw_curves(table, tmp_path)
    assert [file.name for file in files] == ["macs.png", "time.png", "speedup.png"]
    assert all(file.read_bytes()[:4] == b"\x89PNG" for file in files)
    for one in table["runs"]:
        one.pop("counts", None)
    assert draw_curves(table, tmp_path / "none") == []
