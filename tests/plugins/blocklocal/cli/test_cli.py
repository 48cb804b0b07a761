"""`evenfall blocklocal`: split, train and compare."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

torch = pytest.importorskip("torch")

from evenfall_blocklocal.cli import app


def run(*arguments: object, code: int = 0) -> Result:
    found = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert found.exit_code == code, found.output
    return found


def test_split_shows_the_blocks_and_the_dry_run() -> None:
    pytest.importorskip("timm")
    text = run("split", "test_resnet", "--blocks", 3, "--ranks", 3, "--legal").output
    assert "ends after" in text
    assert "legal cuts: conv1" in " ".join(text.split())
    assert "with direct feedback, 3 ranks can share the blocks" in text
    text = run("split", "test_vit", "--boundary", "blocks.1", "--ranks", 3).output
    assert "3 ranks cannot: 3 stages need as many blocks, but there are 2" in text


def test_split_writes_json_for_a_transformers_folder(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=3, num_attention_heads=2,
        intermediate_size=32, architectures=["BertForSequenceClassification"],
    )  # fmt: skip
    config.save_pretrained(tmp_path)
    found = json.loads(run("split", tmp_path, "--blocks", 3, "--json").output)
    assert [block["boundary"] for block in found["blocks"]][-1] is None
    assert len(found["blocks"]) == 3


def test_mistakes_are_one_line() -> None:
    pytest.importorskip("timm")
    assert "Error: unknown model 'resnet_18'" in run("split", "resnet_18", code=1).output
    assert "Error: " in run("split", "test_vit", "--blocks", 99, code=1).output
    missing = run("train", "none", "--data", "x", "--output", "y", code=1)
    assert "bundled recipes" in " ".join(missing.output.split())


def test_compare_writes_the_table_and_the_pictures(digits: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "data: mnist\nmodel: mlp\nmodel_options: {width: 16, depth: 3}\nboundaries: ['1', '2']\n"
        "blocks: 3\noptions: {latent: 8, hidden: 16}\nepochs: 1\nbatch_size: 32\n"
        "learning_rate: 1e-2\n"
    )
    arguments = ("compare", recipe, "--data", digits, "--output", tmp_path / "out", "--seeds", 1)
    text = run(*arguments).output
    assert all(rule in text for rule in ("bll", "local-ce", "frozen", "backprop"))
    for name in ("table.md", "results.json", "accuracy.png", "blocks.png"):
        assert (tmp_path / "out" / name).stat().st_size > 100
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results[0]["alignment"][-1] == pytest.approx(1.0, abs=1e-3)
    assert len(results[0]["probes"]) == 3
    assert "use --resume" in " ".join(run(*arguments, code=1).output.split())
    run(*arguments, "--resume")
    text = run(
        "train", recipe, "--rule", "frozen", "--data", digits, "--output", tmp_path / "one"
    ).output
    assert "frozen: test accuracy" in text


def test_picture_of_a_damaged_grid_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for content in ("{", "{}", '{"cells": [{}]}'):
        (tmp_path / "grid.json").write_text(content)
        text = " ".join(run("picture", tmp_path, code=1).output.split())
        assert f"Error: grid {tmp_path / 'grid.json'} cannot be read: " in text
