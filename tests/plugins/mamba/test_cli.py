"""`evenfall mamba check`, and the patch in `evenfall patches`."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from evenfall.cli.app import app
from evenfall.patches import applied

CHECK = ["mamba", "check", "--length", "8", "--repeats", "1"]


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


def test_check_as_json() -> None:
    report = json.loads(run(*CHECK, "--json"))
    assert report["installed"]["transformers"].startswith("5.")
    assert report["patch"]["families"] == [
        "Mamba", "FalconMamba", "Jamba", "Zamba",
        "Mamba2", "Bamba", "FalconH1", "GraniteMoeHybrid", "NemotronH", "Zamba2",
    ]  # fmt: skip
    assert report["patch"]["applied"] == []
    assert applied() == []
    assert set(report["patch"]["backends"]) == {
        "selective_scan", "selective_state_update", "ssd_scan", "ssd_state_update",
        "causal_conv1d",
    }  # fmt: skip
    assert report["patch"]["targets"][0] == "transformers"
    assert report["patch"]["mamba_ssm"] == ">=2.3.2,<2.4"
    for row in report["speed"][:6]:
        assert row["gain"] == row["before"] / row["after"] > 0


def test_check_as_tables() -> None:
    text = run(*CHECK)
    for word in (
        "transformers",
        "FalconMamba",
        "Mamba: forward of 8 tokens",
        "Mamba-2: forward of 8 tokens",
        "before, ms",
        "speed-up",
        "applies to",
    ):
        assert word in text


def test_patch_is_listed() -> None:
    (row,) = [row for row in json.loads(run("patches", "--json")) if row["name"] == "mamba"]
    assert row["distribution"] == "evenfall-mamba"
