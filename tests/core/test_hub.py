"""Results and cards of checkpoint folders, and what is said of the machine."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pytest

from evenfall.hub import card_text, hub_split, machine, today, versions, write_card, write_results


def card(results: dict[str, Any]) -> str:
    return f"{results['name']}: {next(iter(results['scores']))} %"


def test_the_card_is_made_from_the_results_that_were_written(tmp_path: Path) -> None:
    file = write_results(tmp_path, {"name": "tiny", "scores": [98.5]})
    assert file.read_text() == '{\n  "name": "tiny",\n  "scores": [\n    98.5\n  ]\n}\n'
    assert write_card(tmp_path, card) == tmp_path / "README.md"
    assert (tmp_path / "README.md").read_text() == "tiny: 98.5 %"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "results.json"]


def test_a_card_needs_results(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder .* has no results.json"):
        write_card(tmp_path, card)


@pytest.mark.parametrize("results", [{"scores": [1.0]}, {"name": "tiny", "scores": []}])
def test_lacking_results_leave_the_old_card(tmp_path: Path, results: dict[str, Any]) -> None:
    (tmp_path / "README.md").write_text("old")
    write_results(tmp_path, results)
    with pytest.raises(ValueError, match=r"results.json lacks what the card needs"):
        write_card(tmp_path, card)
    assert (tmp_path / "README.md").read_text() == "old"


def test_results_that_json_does_not_know_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_results(tmp_path, {"name": object()})
    assert not list(tmp_path.iterdir())


def test_card_text_is_front_matter_and_text() -> None:
    assert card_text("license: mit", "# Tiny\n") == "---\nlicense: mit\n---\n\n# Tiny\n"


def test_the_hub_has_its_own_name_for_one_split() -> None:
    assert [hub_split(name) for name in ("train", "valid", "test")] == [
        "train", "validation", "test",
    ]  # fmt: skip


def test_the_machine_names_the_device_where_one_is_given() -> None:
    torch = pytest.importorskip("torch")
    found = machine("cuda")
    assert list(found) == ["architecture", "system", "device", "cores", "torch_threads"]
    assert found["device"] == "cuda" and found["cores"] >= 1
    assert found["torch_threads"] == torch.get_num_threads()
    assert machine() == {name: value for name, value in found.items() if name != "device"}
    json.dumps(found)


def test_versions_are_those_installed() -> None:
    found = versions("pytest", "typer")
    assert list(found) == ["python", "pytest", "typer"]
    assert found["python"] == platform.python_version() and found["typer"] == installed("typer")
    with pytest.raises(PackageNotFoundError):
        versions("no-such-distribution")


def test_today_is_a_date() -> None:
    assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", today())
