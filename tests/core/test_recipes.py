"""Dataclasses from YAML, with errors that name the key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from evenfall.recipes import (
    dump_recipe,
    find_file,
    make_recipe,
    read_recipe,
    read_yaml,
    refuse_flags,
)


@dataclass(frozen=True)
class Choices:
    rate: float = 0.1
    limit: float | None = None
    pair: tuple[float, float] = (0.0, 1.0)
    epochs: int = 1
    seeds: list[int] = field(default_factory=list)
    fast: bool = False
    name: str = "a"
    label: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.epochs < 1:
            raise ValueError(f"epochs must be positive, got {self.epochs}")


def read(folder: Path, text: str) -> Choices:
    (folder / "recipe.yaml").write_text(text)
    return read_recipe(folder / "recipe.yaml", Choices)


def test_round_trip(tmp_path: Path) -> None:
    choices = Choices(rate=1e-4, limit=2.0, pair=(0.1, 0.2), more={"sizes": (1, 2), "on": True})
    assert read(tmp_path, dump_recipe(choices)) == Choices(
        rate=1e-4, limit=2.0, pair=(0.1, 0.2), more={"sizes": [1, 2], "on": True}
    )
    assert dump_recipe(choices).startswith("rate: 0.0001\n")


def test_numbers_that_yaml_reads_as_words(tmp_path: Path) -> None:
    choices = read(tmp_path, "{rate: 1e-3, limit: 1e3, pair: [1e-1, 2]}")
    assert choices == Choices(rate=0.001, limit=1000.0, pair=(0.1, 2.0))
    assert read(tmp_path, "limit: null").limit is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rat: 3", r"recipe .*recipe.yaml has unknown keys \['rat'\]; known are \['rate', .*"),
        ("1: 3", r"unknown keys \['1'\]"),
        ("- 1", "must be a mapping, got list"),
        ("", "must be a mapping, got NoneType"),
        ("a: [", "is not valid YAML"),
        ("rate: fast", "rate must be a number, got 'fast'"),
        ("rate: null", "rate must be a number, got None"),
        ("rate: true", "rate must be a number, got True"),
        ("limit: [1]", r"limit must be a number or null, got \[1\]"),
        ("limit: false", "limit must be a number or null, got False"),
        ("pair: 3", "pair must be a list of numbers, got 3"),
        ("pair: [1, true]", r"pair must be a list of numbers, got \[1, True\]"),
        ("epochs: many", "epochs must be an integer, got 'many'"),
        ("epochs: 1.0", "epochs must be an integer, got 1.0"),
        ("epochs: true", "epochs must be an integer, got True"),
        ("seeds: {1: 2}", "seeds must be a list of integers, got {1: 2}"),
        ("seeds: [1, yes]", r"seeds must be a list of integers, got \[1, True\]"),
        ("fast: 1", "fast must be true or false, got 1"),
        ("name: [x]", r"name must be a string, got \['x'\]"),
        ("label: 2001-01-01", "label must be a string or null, got datetime.date"),
        ("more: [1]", r"more must be a mapping, got \[1\]"),
        ("epochs: 0", r"recipe .*recipe.yaml: epochs must be positive, got 0"),
        (f"rate: 1{'0' * 400}", "rate must be a number, got <an integer of 1329 bits>"),
        (f"epochs: {'9' * 5000}", "recipe.yaml cannot be read: Exceeds the limit"),
        ("[" * 900, "recipe.yaml cannot be read: maximum recursion depth"),
        ("name: 2001-99-99", "recipe.yaml cannot be read: month must be in"),
        ("more: &a {b: *a}", "recipe.yaml cannot be read: it stands for more than 100,000 values"),
    ],
)
def test_errors_name_the_key(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(tmp_path, text)


def test_the_source_of_a_mapping_is_named() -> None:
    with pytest.raises(ValueError, match=r"config x: .*unknown keys"):
        make_recipe({"no": 1}, Choices, "config x:")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_recipe(tmp_path / "recipe.yaml", Choices)


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_bytes(b"name: \xff")
    with pytest.raises(ValueError, match=r"recipe .*recipe\.yaml cannot be read: 'utf-8' codec"):
        read_recipe(tmp_path / "recipe.yaml", Choices)


def test_aliases_that_stand_for_billions_of_values_are_refused(tmp_path: Path) -> None:
    lines = ["name: &a0 [lol]"]
    lines += [f"n{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    with pytest.raises(ValueError, match="it stands for more than 100,000 values"):
        read(tmp_path, "\n".join(lines))
    shared = read(tmp_path, "more: {a: &a [1, 2], b: *a, c: *a}")
    assert shared.more == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


class Layer:
    def __init__(self, width: int, rates: Sequence[float] = (), *, gate: bool | int = 0) -> None:
        """Do nothing."""


def test_options_that_are_numbers_take_no_flags() -> None:
    refuse_flags(Layer, {"width": 1, "rates": [0.5], "gate": True, "other": True})
    refuse_flags(lambda width: width, {"width": True})  # nothing says what it wants
    for make in (Layer, partial(Layer, width=3)):
        with pytest.raises(ValueError, match="width must be a number, got True"):
            refuse_flags(make, {"width": True})
    with pytest.raises(ValueError, match=r"rates must be a number, got \[1, False\]"):
        refuse_flags(Layer, {"rates": [1, False]})


def test_a_key_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text("model: {size: 1, size: 2}\n")
    with pytest.raises(ValueError, match=r"is not valid YAML: key 'size' is there twice"):
        read_yaml(file, "recipe")
    file.write_text("a: &a {size: 1}\nb: {<<: *a, size: 2}\n")
    assert read_yaml(file)["b"] == {"size": 2}
    file.write_text("a: &a {size: 1}\nb: {c: &c {<<: *a, size: 2}}\nd: {<<: *c}\n")
    assert read_yaml(file)["d"] == read_yaml(file)["b"]["c"] == {"size": 2}


def test_a_file_comes_before_a_bundled_one(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    bundled = {"small": tmp_path / "bundled" / "small.yaml"}
    (tmp_path / "small").mkdir()  # a folder of that name does not hide it
    assert find_file("small", bundled) == find_file("small.yaml", bundled) == bundled["small"]
    Path("small.yaml").touch()
    assert find_file("small.yaml", bundled) == Path("small.yaml")
    with pytest.raises(FileNotFoundError, match="study big not found; bundled studies: small"):
        find_file("big", bundled, "study", "studies")
