"""What keeps a folder from being published."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evenfall.hub.checking import find_problems, read_metadata


def metadata(folder: Path, **changes: Any) -> None:
    """Write a card whose metadata has these values; None removes a key."""
    values = {"license": "apache-2.0", "library_name": "timm", **changes}
    kept = {key: value for key, value in values.items() if value is not None}
    (folder / "README.md").write_text(f"---\n{json.dumps(kept)}\n---\ntext")


def results(value: object) -> list[dict[str, Any]]:
    """A model-index with one figure."""
    metrics = [{"type": "accuracy", "value": value}]
    result = {
        "task": {"type": "a"},
        "dataset": {"name": "b", "type": "c"},
        "metrics": metrics,
    }
    return [{"name": "words", "results": [result]}]


def test_a_good_folder_has_no_problem(folder: Path) -> None:
    assert find_problems(folder) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"license": None}, "license must be a text, got None"),
        ({"library_name": 3}, "library_name must be a text, got 3"),
        ({"pipeline_tag": []}, "pipeline_tag must be a text, got []"),
        ({"tags": "egru"}, "tags must be a list of texts, got 'egru'"),
        ({"tags": [1]}, "tags must be a list of texts, got [1]"),
        ({"language": {"en": 1}}, "language must be a text or a list of texts, got {'en': 1}"),
        ({"base_model": ["a", ""]}, "base_model must be a text or a list of texts"),
        ({"model-index": {"name": "a"}}, "model-index is not a list of results"),
        ({"model-index": [{"results": []}]}, "model-index lacks 'name'"),
        ({"model-index": results(0.5)}, "the figure 0.5 is not in results.json"),
    ],
)
def test_metadata_that_the_hub_would_refuse_is_named(
    folder: Path, changes: dict[str, Any], problem: str
) -> None:
    metadata(folder, **changes)
    found = find_problems(folder)
    assert len(found) == 1, found
    assert f"README.md: {problem}" in found[0]


@pytest.mark.parametrize("value", [12.3456, 12.346, 12.35, 1234.6])
def test_a_figure_of_the_card_is_one_of_the_results_rounded(folder: Path, value: float) -> None:
    metadata(folder, **{"model-index": results(value)})
    assert find_problems(folder) == []


def test_a_figure_that_differs_is_named(folder: Path) -> None:
    metadata(folder, **{"model-index": results(12.36)})
    assert "the figure 12.36 is not in results.json" in find_problems(folder)[0]


def test_the_card_must_be_that_of_the_results(folder: Path) -> None:
    card = (folder / "README.md").read_text()
    assert find_problems(folder, lambda values: card) == []
    (found,) = find_problems(folder, lambda values: card.replace("# words", "# other"))
    assert (
        "README.md is not the card of results.json: line 15 is '# words', want '# other'" in found
    )
    (found,) = find_problems(folder, lambda values: values["missing"])
    assert "results.json lacks what the card needs: KeyError('missing')" in found


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("README.md", b"# no metadata", "must begin with metadata between two lines of ---"),
        ("README.md", b"---\n- a\n---\n", "the metadata must be a mapping, got ['a']"),
        ("README.md", b"---\na: [\n---\n", "cannot be read"),
        ("README.md", b"\xff\xfe", "cannot be read"),
        ("results.json", b'{"a": NaN}', "NaN is not JSON"),
        ("config.json", b"{", "cannot be read"),
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{", "cannot be read"),
    ],
)
def test_damaged_files_are_named(folder: Path, name: str, content: bytes, problem: str) -> None:
    (folder / name).write_bytes(content)
    found = find_problems(folder)
    assert any(name in one and problem in one for one in found), found


def test_a_truncated_weights_file_is_a_problem(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-8])
    assert "model.safetensors cannot be read" in find_problems(folder)[0]


@pytest.mark.parametrize(
    ("value", "is_known"), [(1.23e-05, True), (1.2e-05, True), (2.1e-05, False)]
)
def test_small_figures_are_compared_in_their_digits(
    folder: Path, value: float, is_known: bool
) -> None:
    (folder / "results.json").write_text('{"evaluations": [{"loss": 1.23e-05}]}')
    metadata(folder, **{"model-index": results(value)})
    assert (find_problems(folder) == []) is is_known


def test_a_folder_of_folders_is_not_published(folder: Path) -> None:
    (folder / "checkpoint-1").mkdir()
    assert "it has folders ['checkpoint-1']" in find_problems(folder)[0]


def test_metadata_may_have_lines_of_other_systems() -> None:
    assert read_metadata("---\r\nlicense: mit\r\n---\r\ntext") == {"license": "mit"}


def test_the_command_says_what_is_wrong(folder: Path, shell: Any) -> None:
    assert "words can be published" in shell("check", folder)
    metadata(folder, license=None)
    assert "Error: " in shell("check", folder, code=1)
    assert "--evaluate and --data go together" in shell("check", folder, "--evaluate", code=2)
    metadata(folder)
    said = shell("check", folder, "--evaluate", "--data", folder, code=1)
    assert "no plugin can evaluate it" in said


@pytest.mark.parametrize(("got", "code"), [(12.35, 0), (12.4, 1), (float("nan"), 1)])
def test_an_evaluation_must_give_the_recorded_figure(
    folder: Path, shell: Any, monkeypatch: pytest.MonkeyPatch, got: float, code: int
) -> None:
    found = (12.3456, got, "perplexity")
    monkeypatch.setattr("evenfall.cli.hub_commands._evaluate", lambda *_: found)
    said = shell("check", folder, "--evaluate", "--data", folder, code=code)
    assert ("perplexity on valid is" in said) is bool(code)
