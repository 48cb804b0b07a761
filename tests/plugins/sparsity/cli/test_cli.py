"""`evenfall sparsity prune` and `measure`, and what they say of bad input."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from safetensors.torch import load_file
from typer.testing import CliRunner

from evenfall_sparsity.cli import app
from evenfall_sparsity.loading import load_model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, make_egru: Callable[..., Any]) -> Path:
    """A tiny EGRU model with its tokenizer."""
    from evenfall_egru.text.tokenization import vocabulary, word_tokenizer

    folder = tmp_path_factory.mktemp("models") / "tiny"
    tokenizer = word_tokenizer(vocabulary(["the bank fell\nthe bank will fall again\n"]))
    make_egru(vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_model_is_pruned_saved_and_measured(checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "p"
    done = run(
        "prune", checkpoint, "--amount", 0.8, "--block", "1x4", "--reorder", "--output", output
    )
    assert done.exit_code == 0, done.output
    assert "model.layers.0.kernel" in done.output
    weights = load_file(output / "model.safetensors")
    kernel = weights["model.layers.0.kernel"]
    for gate in kernel.chunk(3, 1):
        assert set((gate == 0).unflatten(1, (-1, 4)).sum(2).unique().tolist()) <= {0, 4}
    record = json.loads((output / "sparsity.json").read_text())
    assert (record["block"], record["reorder"], record["amount"]) == ([1, 4], True, 0.8)
    model, (tokenizer,) = load_model(str(output))
    assert tokenizer("the bank")["input_ids"]
    assert sum(zeros for zeros, _ in record["matrices"].values()) == sum(
        int((w == 0).sum()) for name, w in model.named_parameters() if name.endswith("kernel")
    )

    text = tmp_path / "text.txt"
    text.write_text("the bank will fall again\n" * 4)
    done = run("measure", output, "--text", text, "--tokens", 20, "--output", tmp_path / "m")
    assert done.exit_code == 0, done.output
    for words in ("effective MACs per token", "activation sparsity", "lm_head.weight"):
        assert words in done.output
    figures = json.loads((tmp_path / "m" / "measurement.json").read_text())
    assert figures["items"] == 20
    assert (tmp_path / "m" / "measurement.png").is_file()


def test_figures_as_json(checkpoint: Path) -> None:
    done = run("measure", checkpoint, "--tokens", 5, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["item"] == "token"


def test_model_of_transformers_is_loaded_by_its_architecture(tmp_path: Path) -> None:
    config = transformers.LlamaConfig(
        vocab_size=16, hidden_size=8, intermediate_size=12, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "llama")
    model, others = load_model(str(tmp_path / "llama"))
    assert (type(model).__name__, others) == ("LlamaForCausalLM", ())
    done = run("prune", tmp_path / "llama", "--amount", 0.5, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--amount", 1.5], "amount must be from 0 to 1, got 1.5"),
        (["--amount", 0.5, "--block", "16"], "block must be two positive integers"),
        (["--amount", 0.5, "--include", "nothing*"], "matches no parameter"),
        (["--amount", 0.5, "--block", "1x64"], "does not fit"),
    ],
)
def test_bad_arguments_are_one_line(
    checkpoint: Path, tmp_path: Path, arguments: list[Any], words: str
) -> None:
    done = run("prune", checkpoint, "--output", tmp_path / "p", *arguments)
    assert done.exit_code == 1
    assert words in done.output
    assert not (tmp_path / "p").exists()


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    done = run("measure", tmp_path)
    assert (done.exit_code, "has no config.json" in done.output) == (1, True)
    done = run("measure", tmp_path / "none")
    assert done.exit_code == 1


def test_existing_output_is_kept_and_nothing_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evenfall_sparsity.loading.load_model", None)
    for command in (("prune", "x", "--amount", 0.5), ("compress", "x")):
        done = run(*command, "--output", tmp_path)
        assert (done.exit_code, "already exists" in done.output) == (1, True)


def test_missing_matplotlib_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = run("measure", tmp_path / "never-read", "--output", tmp_path / "out")
    assert (done.exit_code, "evenfall-core[pictures]" in done.output) == (1, True)


def test_a_study_of_absent_data_trains_nothing(tmp_path: Path) -> None:
    output = tmp_path / "study"
    done = run("study", "ptb", "--data", tmp_path / "absent", "--output", output)
    assert done.exit_code == 1
    assert "absent not found" in done.output.replace("\n", "")
    assert not output.exists()


def test_a_text_that_the_tokenizer_cannot_encode_is_an_error(
    checkpoint: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(checkpoint, tmp_path / "damaged"))
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["model"]["unk_token"] = "<nothing>"
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    text = tmp_path / "text.txt"
    text.write_text("the zebra")
    for command in (
        ("measure", folder, "--text", text),
        ("compress", folder, "--text", text, "--output", tmp_path / "out"),
    ):
        done = run(*command)
        assert done.exit_code == 1
        assert "Error: the tokenizer cannot encode the text: WordLevel error" in done.output
