"""The figures of docs/limits.md are those of the records and of the published cards."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
RECIPE = "ptb-transformer"
PAGE = " ".join((REPOSITORY / "docs" / "limits.md").read_text(encoding="utf-8").split())


def rows(subject: str) -> list[dict[str, Any]]:
    path = REPOSITORY / "docs" / "benchmarks" / "intel-xeon" / f"{subject}.json"
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return found


def perplexity(card: str) -> str:
    text = (REPOSITORY / "hub_cards" / card / "README.md").read_text(encoding="utf-8")
    (value,) = re.findall(r"^\| test \| full carry \| [\d,]+ \| ([\d.]+) \|", text, re.MULTILINE)
    return f"{float(value):.1f}"


def digits() -> str:
    text = (REPOSITORY / "hub_cards" / "egru-smnist-small" / "results.json").read_text()
    (row,) = [
        row
        for row in json.loads(text)["evaluations"]
        if row["published"] and row["split"] == "test"
    ]
    return f"{100 * row['accuracy']:.1f} %"


def way(name: str) -> str:
    (row,) = [row for row in rows("generate") if row["threads"] == 1 and row["way"] == name]
    return f"{row['times_the_LSTM']:.2g}x"


def other_choices() -> str:
    (row,) = [row for row in rows("spinnaker2") if row["part"] == "mlp"]
    return f"{row['other choices']} of {row['images']:,} images"


def language(rule: str) -> str:
    """The test perplexity of a transformer that a rule trains."""
    path = REPOSITORY / "docs" / "benchmarks" / "amd-epyc" / "blocklocal.json"
    found = json.loads(path.read_text(encoding="utf-8"))["rows"]
    (row,) = [row for row in found if (row.get("recipe"), row.get("rule")) == (RECIPE, rule)]
    return f"{row['test_perplexity']:.1f}"


def smoke(rule: str) -> str:
    """The test accuracy of a rule on the CIFAR-10 subset."""
    (row,) = [
        row
        for row in rows("blocklocal")
        if row.get("recipe") == "cifar10-smoke-resnet" and row["rule"] == rule
    ]
    return f"{100 * row['test_accuracy']:.1f} %"


def parameters() -> str:
    """Of the smallest and the largest checkpoint, in millions."""
    cards = (REPOSITORY / "hub_cards").glob("*/README.md")
    counts = [
        int(number.replace(",", ""))
        for card in cards
        for number in re.findall(r"([\d,]{6,}) parameters", card.read_text(encoding="utf-8"))
    ]
    return f"{min(counts) / 1e6:.1f} to {max(counts) / 1e6:.1f} million parameters"


@pytest.mark.parametrize(
    ("sentence", "figure"),
    [
        ("`egru-ptb-small` has a test perplexity of {} on", lambda: perplexity("egru-ptb-small")),
        ("`egru-smnist-small` is right on {} of MNIST's test images", digits),
        ("removed in blocks, the test perplexity is {}.", lambda: perplexity("egru-ptb-sparse")),
        ("{} over an LSTM in a plain loop is", lambda: way("EGRU, events")),
        ("in a plain loop is {} [through it]", lambda: way("EGRU, events, generate()")),
        ("chooses another class in {} of MNIST", other_choices),
        ("published checkpoints have {}", parameters),
        ("on CIFAR-10, block-local learning reaches {},", lambda: smoke("bll")),
        ("backpropagation {}, and blocks", lambda: smoke("backprop")),
        ("and blocks that do not learn {}.", lambda: smoke("frozen")),
        ("has a test perplexity of {} in four blocks", lambda: language("bll")),
        ("and of {} by backpropagation", lambda: language("backprop")),
    ],
)
def test_a_figure_is_the_measured_one(sentence: str, figure: Callable[[], str]) -> None:
    assert sentence.format(figure()) in PAGE


def test_dense_attention_is_faster_at_1024_points_as_the_page_says() -> None:
    taken = {
        row["layer"]: row["ms"]
        for row in rows("stream")
        if row["part"] == "scaling" and row["points"] == 1024 and row["pass"] == "forward"
    }
    assert "`StreamConv` is slower than dense attention at 1,024 points." in PAGE
    assert taken["StreamConv"] > taken["dense attention"]


def test_every_page_with_limits_is_listed() -> None:
    pages = {
        page.name
        for page in (REPOSITORY / "docs").glob("*.md")
        if re.search(r"^## Limits$", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert pages
    assert {page for page in pages if f"({page}#limits)" not in PAGE} == set()
