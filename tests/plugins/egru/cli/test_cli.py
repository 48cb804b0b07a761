"""`evenfall egru`, from training to the published folder, on a corpus of a few lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard
from typer.testing import CliRunner, Result

from evenfall_egru.cli import app
from evenfall_egru.evaluation.perplexity import evaluate_tokens
from evenfall_egru.loading import load_checkpoint
from evenfall_egru.text.encoding import encode

LINES = [
    "the company said it will sell <unk> shares",
    "the bank fell N points",
    "it will buy the bank",
]
RECIPE = {
    "epochs": 1,
    "batch_size": 2,
    "window": 8,
    "model": {"embedding_size": 6, "hidden_sizes": [10, 6]},
}


def _evenfall(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments])


def _error_line(*arguments: object) -> str:
    """The one line on stderr of a command that must fail."""
    result = _evenfall(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("Error: ")
    return line


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    for split, times in (("train", 20), ("valid", 6), ("test", 5)):
        (folder / f"{split}.txt").write_text("\n".join(LINES * times) + "\n")
    return folder


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    (folder / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    output = folder / "out"
    result = _evenfall("train", folder / "recipe.yaml", "--data", corpus, "--output", output)
    assert result.exit_code == 0, result.output
    return output


@pytest.fixture(scope="module")
def card_folder(run: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cards") / "egru-tiny"
    picture = folder.parent / "images" / "raster.png"
    result = _evenfall(
        "pack", run / "best", "--data", corpus, "--output", folder, "--picture", picture
    )
    assert result.exit_code == 0, result.output
    assert picture.read_bytes() == (folder / "raster.png").read_bytes()
    return folder


def test_help_names_every_command() -> None:
    help_text = _evenfall("--help").output
    for name in ("train", "evaluate", "generate", "convert", "pack", "demo"):
        assert name in help_text
        assert "Usage" in _evenfall(name, "--help").output


def test_train_refuses_a_used_folder_and_bad_recipes(
    run: Path, corpus: Path, tmp_path: Path
) -> None:
    recipe = run.parent / "recipe.yaml"
    assert "already contains a run" in _error_line(
        "train", recipe, "--data", corpus, "--output", run
    )
    bad = tmp_path / "bad.yaml"
    bad.write_text("epoch: 3\n")
    message = _error_line("train", bad, "--data", corpus, "--output", tmp_path / "out")
    assert "unknown keys ['epoch']" in message
    bad.write_text("betas: 3\n")
    message = _error_line("train", bad, "--data", corpus, "--output", tmp_path / "out")
    assert "betas must be a list of numbers, got 3" in message
    message = _error_line("train", recipe, "--data", tmp_path / "no", "--output", tmp_path / "out")
    assert "does not exist" in message


def test_evaluate_states_the_protocol_and_writes_results(
    run: Path, corpus: Path, tmp_path: Path
) -> None:
    result = _evenfall(
        "evaluate", run / "best", "--data", corpus, "--split", "test", "--window", 9,
        "--carry", "output", "--output", tmp_path / "out", "--device", "cpu",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "window 9, carry output" in result.stdout
    assert f"{results['perplexity']:.2f}" in result.stdout
    model, tokenizer = load_checkpoint(run / "best", "cpu")
    tokens = encode(tokenizer, (corpus / "test.txt").read_text())
    expected = evaluate_tokens(model, tokens, window=9, carry="output")
    assert results["perplexity"] == pytest.approx(expected["perplexity"], rel=1e-5)
    assert results["activity"] == pytest.approx(expected["activity"])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["raster.png", "results.json"]


def test_evaluate_reads_a_text_file(run: Path, tmp_path: Path) -> None:
    text = tmp_path / "some.txt"
    text.write_text("the bank fell\n")
    result = _evenfall("evaluate", run / "best", "--text", text)
    assert result.exit_code == 0, result.output
    said = _error_line("evaluate", run / "best", "--text", text, "--split", "test")
    assert "--split is a split of --data, got --split test with --text" in said
    text.write_bytes(b"\xff\xfe")
    assert "not UTF-8" in _error_line("evaluate", run / "best", "--text", text)
    assert "exactly one of --data and --text" in _error_line("evaluate", run / "best")
    archive = tmp_path / "corpus.zip"
    archive.write_bytes(b"no archive")
    assert "cannot be read" in _error_line("evaluate", run / "best", "--data", archive)


def test_checkpoints_that_cannot_be_loaded(run: Path, tmp_path: Path) -> None:
    assert "not found locally or on the Hub" in _error_line("generate", tmp_path / "absent", "the")
    (tmp_path / "empty").mkdir()
    assert "cannot be loaded" in _error_line("generate", tmp_path / "empty", "the")
    cut = tmp_path / "cut"
    cut.mkdir()
    for file in (run / "best").iterdir():
        (cut / file.name).write_bytes(file.read_bytes())
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    assert "weights cannot be read" in _error_line("generate", cut, "the")
    assert "not available" in _error_line("generate", run / "best", "the", "--device", "abacus")


def test_generate_repeats_with_a_seed(run: Path) -> None:
    def text(*options: object) -> str:
        result = _evenfall(
            "generate", run / "best", "the company", "--max-new-tokens", 12, *options
        )
        assert result.exit_code == 0, result.output
        assert result.stdout.startswith("the company")
        return result.stdout

    assert text("--seed", 3) == text("--seed", 3)
    assert text("--greedy") == text("--greedy", "--seed", 9)
    result = _evenfall("generate", run / "best", "the Zebra")
    assert "not in the vocabulary: Zebra" in result.stderr
    assert "temperature must be positive" in _error_line(
        "generate", run / "best", "the", "--temperature", 0
    )


def test_quantize_writes_a_small_folder_that_the_commands_read(
    run: Path, corpus: Path, tmp_path: Path
) -> None:
    output = tmp_path / "int8"
    result = _evenfall("quantize", run / "best", "--output", output)
    assert result.exit_code == 0, result.output
    size = (output / "model.safetensors").stat().st_size
    assert f"{size / 1e6:.2f} MB of weights" in result.stdout.replace("\n", " ")
    settings = json.loads((output / "config.json").read_text())["quantization_config"]
    assert settings["weights"] == "int8"
    for command in (
        ("generate", output, "the company", "--greedy"),
        ("evaluate", output, "--data", corpus),
    ):
        result = _evenfall(*command)
        assert result.exit_code == 0, result.output
    assert "already" in _error_line("quantize", run / "best", "--output", output)
    other = "--output", tmp_path / "other"
    assert "quantised already" in _error_line("quantize", output, *other)
    assert "no module 'body'" in _error_line("quantize", run / "best", *other, "--keep", "body")
    assert not (tmp_path / "other").exists()


def test_convert_names_a_file_that_is_no_checkpoint(corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"nothing")
    message = _error_line(
        "convert", tmp_path / "model.pt", "--corpus", corpus, "--output", tmp_path / "out"
    )
    assert "model.pt cannot be read: it is damaged" in message


def test_packed_folder_is_complete_and_its_results_hold(card_folder: Path, corpus: Path) -> None:
    names = {p.name for p in card_folder.iterdir()}
    assert names >= {
        "README.md", "config.json", "model.safetensors", "raster.png", "recipe.yaml",
        "results.json", "tokenizer.json",
    }  # fmt: skip
    assert not list(card_folder.glob("*.py"))
    results = json.loads((card_folder / "results.json").read_text())
    assert str(corpus) not in json.dumps(results)
    model, tokenizer = load_checkpoint(card_folder, "cpu")
    for evaluation in results["evaluations"]:
        tokens = encode(tokenizer, (corpus / f"{evaluation['split']}.txt").read_text())
        window, carry = evaluation["window"], evaluation["carry"]
        again = evaluate_tokens(model, tokens, window=window, carry=carry)
        assert evaluation["perplexity"] == pytest.approx(again["perplexity"], rel=1e-5)
    assert {(e["split"], e["protocol"]) for e in results["evaluations"]} == {
        (split, protocol)
        for split in ("valid", "test")
        for protocol in ("full carry", "window 70, output carry")
    }
    assert len(ModelCard.load(card_folder / "README.md").data.eval_results) == 4


def test_pack_refuses_what_it_cannot_publish(
    run: Path, card_folder: Path, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:  # fmt: skip
    bare = tmp_path_factory.mktemp("bare")
    new = ("--data", corpus, "--output", tmp_path / "new")
    assert "must be a finished run of an EGRU" in _error_line("pack", bare, *new)
    (bare / "config.json").write_text("{}")
    assert "no recipe.yaml" in _error_line("pack", bare, *new)
    arguments = ("pack", run / "best", "--data", corpus, "--output")
    assert "already exists" in _error_line(*arguments, card_folder)
    assert "dtype must be one of" in _error_line(*arguments, tmp_path / "new", "--dtype", "int3")
    monkeypatch.setattr("evenfall_egru.publish.packing.MOST_BYTES", 10)
    assert "must have at most 10 bytes" in _error_line(*arguments, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_demo_runs_on_a_small_checkpoint(card_folder: Path, tmp_path: Path) -> None:
    result = _evenfall(
        "demo", "--checkpoint", card_folder, "--output", tmp_path / "demo_out", "--tokens", 5
    )
    assert result.exit_code == 0, result.output
    for words in ("the company said it", "perplexity", "activity, layer 2", "tokens/s"):
        assert words in result.stdout
    assert [p.name for p in (tmp_path / "demo_out").iterdir()] == ["raster.png"]
    assert "is not a folder" in _error_line("demo", "--checkpoint", tmp_path / "absent")
