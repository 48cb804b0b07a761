"""`evenfall spinnaker2 predict` and `trace`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from evenfall.graph import Graph
from evenfall_spinnaker2 import compile
from evenfall_spinnaker2.cli import app

from .. import networks

PIXELS = np.random.default_rng(0).random((4, 1, 8, 8)).astype(np.float32)


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved graph, its image, and inputs."""
    folder = tmp_path_factory.mktemp("predict")
    networks.values().save(folder / "graph")
    compile(Graph.load(folder / "graph"), folder / "out")
    np.save(folder / "inputs.npy", PIXELS)
    return folder


def test_predict_prints_choices_and_writes_outputs(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "logits.npz"
    text = run("predict", folder / "out", "--inputs", folder / "inputs.npy", "--output", output)
    with np.load(output) as saved:
        choices = saved["out"].argmax(1).tolist()
    assert text.strip() == f"out: largest output {' '.join(map(str, choices))}"
    found = json.loads(run("predict", folder / "out", "--inputs", folder / "inputs.npy", "--json"))
    assert found["largest"] == {"out": choices}
    assert found["operations"] > 0


def test_predict_compares_random_orders(folder: Path) -> None:
    options = ("--inputs", folder / "inputs.npy", "--order", "random", "--orders", 3)
    assert "3 random orders of 4 steps" in run("predict", folder / "out", *options)
    found = json.loads(run("predict", folder / "out", *options, "--json"))
    assert found["random orders"]["orders"] == 3
    assert found["random orders"]["changed_outputs"] == 0


def test_trace_shows_each_layer(folder: Path) -> None:
    options = ("--inputs", folder / "inputs.npy", "--precision", "int8")
    text = run("trace", folder / "out", folder / "graph", *options)
    assert "the largest output is the same at 4 of 4 steps" in text
    assert "fc1 in int8: outputs move by" in text
    found = json.loads(run("trace", folder / "out", folder / "graph", *options, "--json"))
    assert [one["name"] for one in found["layers"]] == ["conv", "fc1", "fc2"]
    assert {one["name"] for one in found["losses"]} == {"conv", "fc1", "fc2"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give either --prompt or --inputs"),
        (("--prompt", "a"), "is not a language model"),
        (("--inputs", "absent.npy"), "absent.npy"),
        (("--inputs", __file__), "not a .npy file of numbers"),
    ],
)
def test_wrong_options_are_one_line(folder: Path, options: tuple[str, ...], message: str) -> None:
    for command in (("predict", folder / "out"), ("trace", folder / "out", folder / "graph")):
        text = run(*command, *options, code=1)
        assert message in text.replace("\n", " ")
        assert "Traceback" not in text


def test_an_unknown_order_is_refused(folder: Path) -> None:
    options = ("--inputs", folder / "inputs.npy", "--order", "descending")
    assert "order must be" in run("predict", folder / "out", *options, code=1)


def test_trace_rounds_to_int8_or_bf16_only(folder: Path) -> None:
    options = ("--inputs", folder / "inputs.npy", "--precision", "fp32")
    text = run("trace", folder / "out", folder / "graph", *options, code=1)
    assert "precision must be one of int8, bf16, got 'fp32'" in text


def test_no_steps_and_unread_options_are_refused(folder: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.npy"
    np.save(empty, PIXELS[:0])
    out = folder / "out"
    assert "got no steps" in run("predict", out, "--inputs", empty, code=1)
    assert "got no steps" in run("report", out, "--inputs", empty, code=1)
    assert "got no steps" in run("trace", out, folder / "graph", "--inputs", empty, code=1)
    text = run("predict", out, "--prompt", "a", "--output", tmp_path / "a.npz", code=1)
    assert "--output needs --inputs" in text
    filled = ("--inputs", folder / "inputs.npy")
    for command, options, message in (
        ("predict", (*filled, "--max-new-tokens", 3), "--max-new-tokens needs --prompt"),
        ("predict", (*filled, "--past-end"), "--past-end needs --prompt"),
        ("predict", (*filled, "--orders", 3), "--orders needs --order random"),
        ("report", ("--steps", 3), "--steps needs --text or --inputs"),
        ("report", ("--layer", "fc1"), "--layer needs --html"),
    ):
        assert message in run(command, out, *options, code=1)
    text = run("report", out, "--text", empty, "--inputs", empty, code=1)
    assert "give --text or --inputs, not both" in text


def test_random_orders_allow_overflow(folder: Path, tmp_path: Path) -> None:
    small = compile(Graph.load(folder / "graph"), tmp_path / "small", queue_depth=20)
    options = ("--inputs", folder / "inputs.npy", "--order", "random", "--orders", 1)
    assert "lost" in run("predict", small, *options, code=1)
    assert "full queues lost" in run("predict", small, *options, "--allow-overflow")
