"""What is wrong with a folder before it is published: files, weights, card, results."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from evenfall.errors import shorten
from evenfall.reading import read_json, reading

from .folders import CARD, RESULTS

CONFIG = "config.json"
PICKLES = (".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth")
"""Endings of files that run code when they are loaded."""
_FRONT = re.compile(r"\A---\r?\n(?P<metadata>.*?)\r?\n---\r?(\n|\Z)", re.DOTALL)
_LISTS = ("language", "datasets", "base_model")
"""Metadata that is a text or a list of texts."""


def visible_files(folder: Path) -> list[Path]:
    """What a folder has, but for hidden names and caches of Python, in the order of names."""
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith((".", "__"))]


def published_files(folder: str | Path) -> list[Path]:
    """The files of a folder that are published: all but hidden ones.

    Raises:
        ValueError: the folder does not contain exactly one checkpoint: it has folders or pickles,
            or lacks config.json or a .safetensors file.
        FileNotFoundError: no such folder.
    """
    folder = Path(folder)
    visible = visible_files(folder)
    folders = [path.name for path in visible if path.is_dir()]
    pickles = [path.name for path in visible if path.suffix in PICKLES]
    problem = ""
    if folders:
        problem = f"it has folders {shorten(folders)}"
    elif pickles:
        problem = f"it has pickles {shorten(pickles)}"
    elif not (folder / CONFIG).is_file():
        problem = f"it has no {CONFIG}"
    elif not any(path.suffix == ".safetensors" for path in visible):
        problem = "it has no .safetensors file"
    if problem:
        raise ValueError(
            f"folder {folder} cannot be published: {problem}; pass the folder of one checkpoint, "
            "such as a run's best/"
        )
    return visible


def find_problems(
    folder: str | Path, make_card: Callable[[dict[str, Any]], object] | None = None
) -> list[str]:
    """What keeps a folder from being published, a sentence each; an empty list if nothing does.

    A folder without README.md or results.json has nothing to compare, and that is no problem:
    `push` adds a card where there is none.

    Args:
        folder: the folder of one checkpoint.
        make_card: makes the card from results.json; README.md must be its text. If None, every
            figure in the card's metadata must be in results.json.

    Raises:
        FileNotFoundError: no such folder.
    """
    try:
        files = published_files(folder)
    except ValueError as error:
        return [str(error)]
    return [problem for file in files for problem in _problems_of(file)] + list(
        _problems_of_card(Path(folder), make_card)
    )


def _problems_of(file: Path) -> Iterator[str]:
    try:
        if file.suffix == ".safetensors":
            _read_weights(file)
        elif file.suffix == ".json":
            with reading(file):
                json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse)
    except ValueError as error:
        yield str(error)


def _read_weights(file: Path) -> None:
    from safetensors import safe_open

    with reading(file), safe_open(file, "numpy") as weights:
        if not weights.keys():
            raise ValueError("it has no weights")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _problems_of_card(
    folder: Path, make_card: Callable[[dict[str, Any]], object] | None
) -> Iterator[str]:
    card, results = folder / CARD, folder / RESULTS
    if not card.is_file():
        return
    try:
        with reading(card):
            text = card.read_text(encoding="utf-8")
        metadata = read_metadata(text, card)
    except ValueError as error:
        yield str(error)
        return
    yield from (f"{card}: {problem}" for problem in _problems_of_metadata(metadata))
    if not results.is_file():
        return
    try:
        values = read_json(results)
    except ValueError:
        return  # it is among the files, so it is listed
    if make_card is None:
        known = list(_numbers(values))
        for figure in _figures(metadata):
            if not any(_is_rounded(figure, number) for number in known):
                yield f"{card}: the figure {figure} is not in {RESULTS}"
        return
    try:
        wanted = str(make_card(values))
    except (KeyError, StopIteration, TypeError, ValueError) as error:
        yield f"{results} lacks what the card needs: {shorten(error)}"
        return
    for number, (got, want) in enumerate(_lines(text, wanted), 1):
        if got != want:
            yield (
                f"{card} is not the card of {RESULTS}: line {number} is {shorten(got)}, want "
                f"{shorten(want)}"
            )
            return


def _lines(one: str, other: str) -> Iterator[tuple[str, str]]:
    first, second = one.rstrip().splitlines(), other.rstrip().splitlines()
    length = max(len(first), len(second))
    yield from zip(
        first + [""] * (length - len(first)), second + [""] * (length - len(second)), strict=True
    )


def read_metadata(text: str, name: str | Path = CARD) -> dict[str, Any]:
    """The metadata of a card: the YAML between two lines of three hyphens at its start.

    Raises:
        ValueError: there is none, it is not YAML, or it is not a mapping.
    """
    import yaml

    match = _FRONT.match(text)
    if match is None:
        raise ValueError(f"{name} must begin with metadata between two lines of ---")
    with reading(name):
        values = yaml.safe_load(match["metadata"])
    if not isinstance(values, dict):
        raise ValueError(f"{name}: the metadata must be a mapping, got {shorten(values)}")
    return values


def _problems_of_metadata(metadata: dict[str, Any]) -> Iterator[str]:
    """What the Hub refuses, or needs to list a model under its library and license."""
    for key in ("license", "library_name"):
        if not _is_text(metadata.get(key)):
            yield f"{key} must be a text, got {shorten(metadata.get(key))}"
    if "pipeline_tag" in metadata and not _is_text(metadata["pipeline_tag"]):
        yield f"pipeline_tag must be a text, got {shorten(metadata['pipeline_tag'])}"
    for key in ("tags", "metrics"):
        if key in metadata and not _are_texts(metadata[key]):
            yield f"{key} must be a list of texts, got {shorten(metadata[key])}"
    for key in _LISTS:
        value = metadata.get(key, "one")
        if not (_is_text(value) or _are_texts(value)):
            yield f"{key} must be a text or a list of texts, got {shorten(value)}"
    if "model-index" in metadata:
        try:
            from huggingface_hub.repocard_data import model_index_to_eval_results

            model_index_to_eval_results(metadata["model-index"])
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            yield (
                f"model-index lacks {error}"
                if isinstance(error, KeyError)
                else (f"model-index is not a list of results: {shorten(metadata['model-index'])}")
            )
            return
        for figure in _figures(metadata):
            if not math.isfinite(figure):
                yield f"model-index has the value {figure}, which is not finite"


def _figures(metadata: dict[str, Any]) -> list[float]:
    """The values of the results in the metadata."""
    try:
        return [
            metric["value"]
            for model in metadata["model-index"]
            for result in model["results"]
            for metric in result["metrics"]
            if isinstance(metric["value"], int | float)
        ]
    except (KeyError, TypeError):
        return []


def _numbers(values: Any) -> Iterator[float]:
    if isinstance(values, dict):
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from _numbers(value)
    elif isinstance(values, int | float) and not isinstance(values, bool):
        yield float(values)


def _is_rounded(figure: float, number: float) -> bool:
    """Whether `figure` is `number`, or 100 times it in per cent, rounded to its digits."""
    exponent = Decimal(str(figure)).as_tuple().exponent
    digits = max(0, -exponent) if isinstance(exponent, int) else 0
    return any(round(scale * number, digits) == round(figure, digits) for scale in (1, 100))


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))
