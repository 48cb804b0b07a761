"""Every table of results in docs/blocklocal.md is that of the records."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
BY_MACHINE: dict[str, list[dict[str, Any]]] = {
    path.parent.name: json.loads(path.read_text(encoding="utf-8"))["rows"]
    for path in sorted((REPOSITORY / "docs" / "benchmarks").glob("*/blocklocal.json"))
}
ROWS = [row for found in BY_MACHINE.values() for row in found]
PAGE = (REPOSITORY / "docs" / "blocklocal.md").read_text(encoding="utf-8")
MACHINES = {"intel-xeon": "Xeon", "amd-epyc": "EPYC"}
TIMED = {
    "resnet18": "ResNet-18, 224 px",
    "resnet50": "ResNet-50, 224 px",
    "vit_small_patch16_224": "ViT-S/16, 224 px",
    "gpt2": "12-layer language model, 256 tokens",
}


def rows(part: str) -> list[dict[str, Any]]:
    found = [row for row in ROWS if row["part"] == part]
    assert found
    return found


@pytest.mark.parametrize("model", TIMED)
@pytest.mark.parametrize("machine", ["intel-xeon", "amd-epyc"])
def test_times_are_those_of_the_record(machine: str, model: str) -> None:
    found = [
        row for row in BY_MACHINE[machine] if (row["part"], row.get("model")) == ("time", model)
    ]
    plain = {(row["rule"], row["blocks"]): row for row in found if not row.get("samples")}
    shown = [plain[case]["ratio"] for case in (("bll", 4), ("bll", 8), ("local-ce", 4))]
    line = f"| {TIMED[model]} | {plain['bll', 4]['batch']} | {MACHINES[machine]} | "
    assert line + " | ".join(f"{x:.2f}" for x in shown) + " |" in PAGE
    for row in found:
        if row.get("samples"):
            wanted = f"With `samples={row['samples']}`, eight blocks take {row['ratio']:.2f} on the"
            assert f"{wanted} {MACHINES[machine]}." in " ".join(PAGE.split())


def test_compiled_steps_are_those_of_the_record() -> None:
    for rule, name in (("backprop", "backprop"), ("bll", "bll, 4")):
        found = {row["mode"]: row["ratio"] for row in rows("compiled") if row["rule"] == rule}
        shown = [f"{found[mode]:.2f}" for mode in ("eager", "parts", "whole")]
        assert f"| {name} | {' | '.join(shown)} |" in PAGE


def test_memory_and_ranks_are_those_of_the_record() -> None:
    for row in rows("memory"):
        if row["rule"] != "backprop":
            change = f"−{100 * (1 - row['share']):.0f} %"
            line = f"| {row['rule']}, {row['blocks']} | {row['peak_mib']:,} | {change} | "
            assert f"{line}{row['head_parameters']:,} |" in PAGE
    (two,) = [row for row in rows("processes") if row["ranks"] == 2]
    assert f"({two['speedup']:.2f}x)" in PAGE


def test_accuracies_are_those_of_the_record() -> None:
    for row in rows("ten-lines"):
        line = f"| {row['rule']} | {100 * row['train_accuracy']:.1f} % | "
        assert f"{line}{row['head_parameters']:,} |" in PAGE
    for row in rows("accuracy"):
        if "test_accuracy" in row:
            test, low, high, train = (
                f"{100 * row[name]:.{2 if row['recipe'].startswith('two') else 1}f}"
                for name in ("test_accuracy", "lowest", "highest", "train_accuracy")
            )
            line = f"| {row['rule']} | {test} % | {low} - {high} | {train} % | "
            assert f"{line}{row['head_parameters']:,} | {row['seconds']:,.0f} |" in PAGE


def test_perplexities_are_those_of_the_record() -> None:
    for row in rows("accuracy"):
        if "test_perplexity" in row:
            test, train = (f"{row[name]:.1f}" for name in ("test_perplexity", "train_perplexity"))
            line = f"| {row['rule']} | {test} | {train} | {row['head_parameters']:,} |"
            assert f"{line} {row['seconds']:,.0f} |" in PAGE


def test_the_warning_of_language_models_has_the_figures_of_the_record() -> None:
    found = {
        row["rule"]: f"{row['test_perplexity']:.1f}"
        for row in rows("accuracy")
        if row["recipe"] == "ptb-transformer"
    }
    sentence = (
        f"perplexity of {found['bll']} with `bll` and {found['local-ce']} with `local-ce`, "
        f"backpropagation {found['backprop']};"
    )
    assert sentence in " ".join(PAGE.split())


def test_numbers_of_blocks_are_those_of_the_record() -> None:
    found = {
        (row["changes"]["rule"], row["changes"]["blocks"]): f"{100 * row['test_accuracy']:.2f} %"
        for row in rows("grids")
        if row["grid"] == "blocks"
    }
    for blocks in (2, 4, 8, 16):
        line = f"| {blocks} | {found['bll', blocks]} | {found['local-ce', blocks]} |"
        assert line in PAGE
    (direct,) = [row for row in rows("grids") if row["grid"] == "direct"]
    assert direct["changes"] == {"blocks": 16, "options.feedback": "direct"}
    assert f'With `feedback="direct"`, `bll` reaches {100 * direct["test_accuracy"]:.2f} %' in PAGE


@pytest.mark.parametrize("grid", ["ablation", "samples"])
def test_options_are_those_of_the_record(grid: str) -> None:
    found = [row for row in rows("grids") if row["grid"] == grid]
    assert found
    for row in found:
        shown = (
            f"{100 * row['test_accuracy']:.2f} %"
            if "test_accuracy" in row
            else f"{row['test_perplexity']:.1f}"
        )
        assert f"| {row['cell']} | {shown} |" in PAGE


def test_the_cuts_are_those_of_the_record() -> None:
    found = rows("cuts")
    good = [row for row in found if row["result"] == "ok"]
    assert f"{len(good)} of {len(found)} classes of timm models" in " ".join(PAGE.split())
