"""`evenfall spinnaker2`: each command, its output, and one line for an error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evenfall_spinnaker2.cli import app
from evenfall_spinnaker2.nir_files import write_nir

from ..networks import language_model, spiking


def run(*arguments: object, code: int = 0) -> str:
    result = CliRunner().invoke(app, [str(one) for one in arguments])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return language_model().save(tmp_path_factory.mktemp("graph") / "model")


def test_check_compile_inspect_report(graph: Path, tmp_path: Path) -> None:
    text = run("check", graph)
    assert "model fits: 2 of 148 PEs, 1 chip(s)" in text
    out = tmp_path / "out"
    text = run("compile", graph, out, "--precision", "bf16")
    assert "processing elements" in text
    assert "emulator-verified, not run on hardware" in text
    assert "layer0" in run("inspect", out)
    assert "PE 1 at (1, 1, 1), units 0 to 7 of layer1" in run("inspect", out, "--pe", 1)
    assert "wrote" in run("report", out, "--html", tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")


def test_check_as_json_and_exit_code(graph: Path) -> None:
    assert json.loads(run("check", graph, "--json"))["pes"] == 2
    found = json.loads(run("check", graph, "--pes", 1, "--json", code=1))
    assert found["problem"] == "needs 2 processing elements, the board has 1"


def test_fits_as_json() -> None:
    rows = json.loads(run("fits", "--layers", 1, "--pes", 1, "--json"))
    assert len(rows) == 15
    assert rows[0]["weights"] == "fp32"


def test_spiking_network_prints_its_scaling(tmp_path: Path) -> None:
    pytest.importorskip("nir")
    path = write_nir(spiking(), tmp_path / "net.nir")
    text = run("compile", path, tmp_path / "out", "--precision", "int8")
    assert "if: v_scale_min 1, v_scale_max 1, w_scale" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("check", "nowhere"), "Error: model nowhere not found"),
        (("inspect", "nowhere"), "manifest.json not found"),
        (("report", "nowhere"), "manifest.json not found"),
    ],
)
def test_error_is_one_line(arguments: tuple[str, ...], message: str) -> None:
    text = run(*arguments, code=1)
    assert message in text
    assert len(text.strip().splitlines()) == 1


def test_wrong_option_is_one_line(graph: Path, tmp_path: Path) -> None:
    assert "mode must be one of events, gather, got 'x'" in run(
        "check", graph, "--mode", "x", code=1
    )
    (tmp_path / "bad.npy").write_bytes(b"no array")
    options = ("--precision", "int8", "--calibration", tmp_path / "bad.npy")
    assert "not a .npy file of numbers" in run("check", graph, *options, code=1)
