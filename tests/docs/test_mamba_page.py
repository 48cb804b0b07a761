"""The figures of docs/mamba.md are those of the record."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = " ".join((DOCS / "mamba.md").read_text(encoding="utf-8").split())
ROWS: list[dict[str, Any]] = json.loads(
    (DOCS / "benchmarks" / "intel-xeon" / "ssd_scan.json").read_text(encoding="utf-8")
)["rows"]


def forward(part: str, what: str) -> dict[str, Any]:
    (row,) = [
        row
        for row in ROWS
        if (row["part"], row.get("what"), row.get("pass")) == (part, what, "forward")
    ]
    return row


def test_the_scan_of_mamba_2_takes_what_the_page_says() -> None:
    ours, theirs = (forward("scan", what) for what in ("evenfall", "transformers"))
    products = forward("scan", "matrix products alone")
    memory = forward("memory", "transformers")
    assert (
        f"the forward pass over {ours['length']:,} steps of {ours['heads']} heads of "
        f"{ours['channels']} channels and {ours['states']} states takes {ours['ms']:.1f} ms, "
        f"{products['evenfall_over_this']:.1f} times as long as its matrix products alone"
    ) in PAGE
    assert (
        f"the path of `transformers` takes {theirs['ms']:.0f} ms and "
        f"{memory['times_evenfall']:.0f} times the memory"
    ) in PAGE
