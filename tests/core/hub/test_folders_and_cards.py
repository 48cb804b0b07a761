"""Results and cards of checkpoint folders, and the record of the machine."""

from __future__ import annotations

import json
import platform
import re
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import pytest

from evenfall.hub import (
    card_text,
    hub_split,
    machine,
    markdown_table,
    model_card,
    pack_folder,
    recipe_text,
    today,
    versions,
    write_card,
    write_results,
)


def card(results: dict[str, Any]) -> str:
    return f"{results['name']}: {next(iter(results['scores']))} %"


def test_the_card_is_made_from_the_results_that_were_written(tmp_path: Path) -> None:
    file = write_results(tmp_path, {"name": "tiny", "scores": [98.5]})
    assert file.read_text() == '{\n  "name": "tiny",\n  "scores": [\n    98.5\n  ]\n}\n'
    assert write_card(tmp_path, card) == tmp_path / "README.md"
    assert (tmp_path / "README.md").read_text() == "tiny: 98.5 %"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "results.json"]


@pytest.mark.parametrize("score", [float("nan"), float("inf"), float("-inf")])
def test_results_that_json_lacks_are_refused_by_name(tmp_path: Path, score: float) -> None:
    with pytest.raises(ValueError, match=rf"results.json: scores.1.loss is {score}, which JSON"):
        write_results(tmp_path, {"name": "tiny", "scores": [1.0, {"loss": score}]})
    assert not list(tmp_path.iterdir())


def test_a_card_needs_results(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"folder .* has no results.json"):
        write_card(tmp_path, card)


@pytest.mark.parametrize("results", [{"scores": [1.0]}, {"name": "tiny", "scores": []}])
def test_missing_results_leave_the_old_card(tmp_path: Path, results: dict[str, Any]) -> None:
    (tmp_path / "README.md").write_text("old")
    write_results(tmp_path, results)
    with pytest.raises(ValueError, match=r"results.json lacks what the card needs"):
        write_card(tmp_path, card)
    assert (tmp_path / "README.md").read_text() == "old"


def test_results_that_are_not_json_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        write_results(tmp_path, {"name": object()})
    assert not list(tmp_path.iterdir())


def test_card_text_is_front_matter_and_text() -> None:
    assert card_text("license: mit", "# Tiny\n") == "---\nlicense: mit\n---\n\n# Tiny\n"


def test_the_hub_has_its_own_name_for_one_split() -> None:
    assert [hub_split(name) for name in ("train", "valid", "test")] == [
        "train", "validation", "test",
    ]  # fmt: skip


def test_the_machine_names_the_device() -> None:
    torch = pytest.importorskip("torch")
    found = machine("cuda")
    assert list(found) == ["architecture", "system", "device", "cores", "torch_threads"]
    assert found["device"] == "cuda"
    assert found["cores"] >= 1
    assert found["torch_threads"] == torch.get_num_threads()
    assert machine() == {name: value for name, value in found.items() if name != "device"}
    json.dumps(found)


def test_versions_are_those_installed() -> None:
    found = versions("pytest", "typer")
    assert list(found) == ["python", "pytest", "typer"]
    assert found["python"] == platform.python_version()
    assert found["typer"] == installed("typer")
    with pytest.raises(PackageNotFoundError):
        versions("no-such-distribution")


def test_today_is_a_date() -> None:
    assert re.fullmatch(r"20\d\d-[01]\d-[0-3]\d", today())


def test_a_folder_is_packed_whole_or_not_at_all(tmp_path: Path) -> None:
    def fill(folder: Path) -> dict[str, Any]:
        (folder / "weights").write_text("w")
        return {"name": "tiny", "scores": [98.5], "machine": {"cores": 2}}

    def pack(make_card: Any = card, **options: Any) -> Path:
        return pack_folder(
            tmp_path / "tiny", fill, make_card, command="make", packages=["pytest"], **options
        )

    def nothing(_: dict[str, Any]) -> str:
        raise KeyError("accuracy")

    with pytest.raises(ValueError, match="lacks what the card needs: 'accuracy'"):
        pack(nothing)
    assert not list(tmp_path.iterdir())
    folder = pack()
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md", "results.json", "weights",
    ]  # fmt: skip
    results = json.loads((folder / "results.json").read_text())
    assert list(results) == [
        "checkpoint", "command", "date", "name", "scores", "machine", "versions",
    ]  # fmt: skip
    assert (results["checkpoint"], results["command"]) == ("tiny", "make")
    assert list(results["versions"]) == ["python", "pytest"]
    with pytest.raises(FileExistsError, match="already exists"):
        pack()
    assert pack(replace=True) == folder


def test_a_model_card_has_the_evaluations_as_metadata() -> None:
    hub = pytest.importorskip("huggingface_hub")
    evaluation = {
        "task_type": "other", "dataset_type": "d", "dataset_name": "D", "dataset_split": "valid",
        "metric_type": "accuracy", "metric_value": 98.5,
    }  # fmt: skip
    made = model_card("# {name}", {"name": "tiny"}, [evaluation], model_name="tiny", tags=["a"])
    read = hub.ModelCard(str(made))
    (result,) = read.data.eval_results
    assert (result.dataset_split, result.metric_value) == ("validation", 98.5)
    assert read.data.license == "apache-2.0"
    assert read.text.strip() == "# tiny"
    with pytest.raises(KeyError, match="name"):
        model_card("# {name}", {}, [])


def test_tables_and_recipes_as_cards_show_them() -> None:
    table = markdown_table(("class", "examples:"), [("ball", 7)])
    assert table == "| class | examples |\n|---|---:|\n| ball | 7 |"
    assert markdown_table(("a", "b"), [("x|y", "1\n2")]).endswith("\n| x\\|y | 1 2 |")
    assert recipe_text({"epochs": 2, "betas": [0.9]}) == "epochs: 2\nbetas:\n- 0.9"
