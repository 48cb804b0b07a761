"""The figures that README.md and the site open with are those of docs/benchmarks/."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
MACHINE = "intel-xeon"


def _row(subject: str, **wanted: object) -> dict[str, Any]:
    """The one row of a record in which every key of `wanted` has its value."""
    path = REPOSITORY / "docs" / "benchmarks" / MACHINE / f"{subject}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    (match,) = [row for row in rows if wanted.items() <= row.items()]
    return match


def _generation() -> float:
    return _row("generate", threads=1, way="EGRU, events")["times_the_LSTM"]


def _prompt() -> float:
    return _row("mamba", part="speed", task="prompt of 1024 tokens")["times_faster"]


def _layer() -> float:
    ours, theirs = (
        _row("stream", part="scaling", layer=layer, points=65_536, **{"pass": "forward"})["ms"]
        for layer in ("StreamConv", "PointTransformerConv")
    )
    return theirs / ours


def _blocks() -> float:
    return _row("egru_step", threads=1, way="EGRU, blocks in layers and decoder")[
        "times_dense_rows"
    ]


def _memory() -> float:
    """Percent by which a step of ResNet-50 in four blocks needs less memory."""
    row = _row("blocklocal", part="memory", model="resnet50", rule="bll", blocks=4)
    return 100 * (1 - row["share"])


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
@pytest.mark.parametrize(
    ("sentence", "measured"),
    [
        ("generates text {}x faster than an `nn.LSTM` of the same sizes", _generation),
        ("reads a prompt of 1,024 tokens {}x faster than `transformers` alone", _prompt),
        ("relates 65,536 points {}x faster than `PointTransformerConv`", _layer),
        ("an EGRU of the paper's sizes generates {}x faster (random weights)", _blocks),
        ("a step of ResNet-50 needs {} % less memory", _memory),
    ],
)
def test_figure_is_the_measured_one(
    page: str, sentence: str, measured: Callable[[], float]
) -> None:
    text = " ".join((REPOSITORY / page).read_text(encoding="utf-8").split())
    assert sentence.format(f"{measured():.2g}") in text


@pytest.mark.parametrize("page", ["README.md", "docs/index.md"])
def test_machine_is_named(page: str) -> None:
    cpu = json.loads(
        (REPOSITORY / "docs" / "benchmarks" / MACHINE / "mamba.json").read_text(encoding="utf-8")
    )["machine"]
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert "Xeon" in cpu["cpu"]
    assert cpu["cores"] == 2
    assert "two cores of an Intel Xeon" in text
