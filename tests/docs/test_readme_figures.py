"""The figures that README.md opens with are those of docs/benchmarks/<machine>/*.json."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

EPYC, XEON = "amd-epyc", "intel-xeon"
EVENTS, THROUGH = "EGRU, events", "EGRU, events, generate()"


def _row(machine: str, record: str, **wanted: object) -> dict[str, Any]:
    """The one row of a machine's record in which every key of `wanted` has its value."""
    path = REPOSITORY / "docs" / "benchmarks" / machine / f"{record}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    (found,) = [row for row in rows if wanted.items() <= row.items()]
    return found


def _generating(machine: str, way: str) -> float:
    return _row(machine, "generate", threads=1, way=way)["times_the_LSTM"]


def _prompt() -> float:
    return _row(XEON, "mamba", part="speed", task="prompt of 1024 tokens")["times_faster"]


def _layer(direction: str) -> float:
    ours, theirs = (
        _row(XEON, "stream", part="scaling", layer=layer, points=65_536, **{"pass": direction})
        for layer in ("StreamConv", "PointTransformerConv")
    )
    return theirs["ms"] / ours["ms"]


@pytest.mark.parametrize(
    ("sentence", "measured"),
    [
        ("text at {} times the speed of an `nn.LSTM`", lambda: _generating(XEON, EVENTS)),
        ("and {} times on an AMD EPYC", lambda: _generating(EPYC, EVENTS)),
        ("{} and 5.6 times through `generate()`", lambda: _generating(XEON, THROUGH)),
        ("and {} times through `generate()`", lambda: _generating(EPYC, THROUGH)),
        ("a Mamba of 24 layers {} times as fast as `transformers` alone", _prompt),
        ("{} times as fast forward as `PointTransformerConv`", lambda: _layer("forward")),
        ("{} times with the backward pass", lambda: _layer("forward + backward")),
    ],
)
def test_figure_is_the_measured_one(sentence: str, measured: Callable[[], float]) -> None:
    readme = " ".join((REPOSITORY / "README.md").read_text(encoding="utf-8").split())
    assert sentence.format(f"{measured():.2g}") in readme
