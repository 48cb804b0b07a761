"""evenfall sparsity compress and demo."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from evenfall_sparsity.cli import app
from evenfall_sparsity.compression import Costs

egru = pytest.importorskip("evenfall_egru")
transformers = pytest.importorskip("transformers")
CARD = Path(__file__).parents[4] / "hub_cards" / "egru-ptb-small"


@pytest.fixture(autouse=True)
def fixed(monkeypatch: pytest.MonkeyPatch, costs: Costs) -> None:
    """The cost model of the tests, in place of a measurement."""
    monkeypatch.setattr("evenfall_sparsity.compression.convert.Costs", lambda: costs)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny checkpoint with the tokenizer of the published one."""
    torch.manual_seed(0)
    config = egru.EgruConfig(vocab_size=10000, embedding_size=16, hidden_sizes=[32, 16])
    egru.EgruForCausalLM(config).save_pretrained(tmp_path / "model")
    transformers.AutoTokenizer.from_pretrained(CARD).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_prune_compress_and_load(folder: Path, tmp_path: Path) -> None:
    pruned, small = tmp_path / "pruned", tmp_path / "small"
    options = ("--amount", 0.9, "--block", "1x16", "--output", pruned)
    assert run("prune", folder, *options).exit_code == 0
    text = tmp_path / "text.txt"
    text.write_text("the company said it")
    result = run("compress", pruned, "--output", small, "--text", text)
    assert result.exit_code == 0, result.output
    assert "blocks 1x16, float32" in result.output
    record = json.loads((small / "compression.json").read_text())
    assert record["bytes"] < record["bytes_before"]
    assert record["matrices"][0]["activity"] == 1
    ids = torch.arange(5)[None]
    models = [transformers.AutoModelForCausalLM.from_pretrained(one) for one in (pruned, small)]
    texts = [one.generate(ids, max_new_tokens=8, do_sample=False).tolist() for one in models]
    assert texts[0] == texts[1]
    assert transformers.AutoTokenizer.from_pretrained(small)("the")["input_ids"]


def test_lossy_and_exclude(folder: Path, tmp_path: Path) -> None:
    options = ("--output", tmp_path / "small", "--lossy", "--exclude", "lm_head*")
    result = run("compress", folder, *options)
    assert result.exit_code == 0, result.output
    forms = json.loads((tmp_path / "small" / "compression.json").read_text())["matrices"]
    assert [one["form"] for one in forms] == ["rows, int8"] * 4 + ["as it is"]


def test_the_demo_shows_both_answers(folder: Path) -> None:
    result = run("demo", folder, "--tokens", 3, "--rounds", 1)
    assert result.exit_code == 0, result.output
    assert "as it is, " in result.output
    assert "the same text" in result.output


def test_wrong_calls(folder: Path, tmp_path: Path) -> None:
    missing = run("compress", tmp_path / "nothing", "--output", tmp_path / "x")
    assert (missing.exit_code, (tmp_path / "x").exists()) == (1, False)
    assert "Error: checkpoint" in missing.output
    assert "--text" not in run("demo", folder, "--prompt", "").output
    assert run("demo", folder, "--prompt", "").exit_code == 1
    assert run("compress", folder, "--output", folder).exit_code == 1
    absent = run("compress", folder, "--output", tmp_path / "x", "--text", "the company")
    assert (absent.exit_code, "text the company not found" in absent.output) == (1, True)
