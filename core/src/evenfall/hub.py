"""What every published checkpoint folder records: results, where they were measured, a card.

The plugins say what is in the results and in the card; this module only writes both, and knows
no models. `results.json` comes first and the card is made from it, so that no figure of a card is
written by hand.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .files import write_text, written_aside

RESULTS, CARD = "results.json", "README.md"


def pack_folder(
    output: str | Path,
    fill: Callable[[Path], dict[str, Any]],
    make_card: Callable[[dict[str, Any]], object],
    *,
    command: str,
    packages: Sequence[str],
    replace: bool = False,
) -> Path:
    """Make the folder to publish: what `fill` writes, results.json, and the card made from it.

    Args:
        output: the folder; appears whole or not at all, and is the checkpoint's name.
        fill: called with the folder to write weights, recipe and pictures; returns the results,
            "machine" among them.
        make_card: as for write_card.
        command: that made the folder, for the card.
        packages: distributions whose versions the results name.
        replace: whether `output` may be replaced.

    Returns:
        `output`.

    Raises:
        FileExistsError: `output` exists and may not be replaced.
        ValueError: the results lack something that the card states.
    """
    output = Path(output)
    with written_aside(output, replace=replace) as folder:
        results = {
            "checkpoint": output.name,
            "command": command,
            "date": today(),
            **fill(folder),
            "versions": versions(*packages),
        }
        write_results(folder, results)
        write_card(folder, make_card)
    return output


def write_results(folder: str | Path, results: dict[str, Any]) -> Path:
    """Write results.json and return its path.

    Raises:
        TypeError: a value that JSON does not know.
    """
    return write_text(Path(folder) / RESULTS, json.dumps(results, indent=2) + "\n")


def write_card(folder: str | Path, make_card: Callable[[dict[str, Any]], object]) -> Path:
    """Write README.md from the folder's results.json and return its path.

    Args:
        folder: of the checkpoint.
        make_card: from the results to what the file holds, as `str` gives it.

    Raises:
        FileNotFoundError: the folder has no results.json.
        ValueError: results.json lacks something that the card states.
    """
    file = Path(folder) / RESULTS
    if not file.is_file():
        raise FileNotFoundError(f"folder {folder} has no {RESULTS}")
    try:
        card = make_card(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, StopIteration) as error:
        raise ValueError(f"{file} lacks what the card needs: {error}") from error
    return write_text(Path(folder) / CARD, str(card))


def model_card(
    template: str,
    values: Mapping[str, Any],
    evaluations: Iterable[Mapping[str, Any]],
    **metadata: Any,
) -> Any:
    """A huggingface_hub ModelCard, with the evaluations in its metadata as the Hub shows them.

    Args:
        template: the text, with the names of `values` in braces.
        values: what stands in the text.
        evaluations: of each the arguments of huggingface_hub's EvalResult; `dataset_split` is the
            project's name of the split.
        **metadata: the other arguments of huggingface_hub's ModelCardData.

    Raises:
        KeyError: the template has a name that `values` lacks.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(**{**found, "dataset_split": hub_split(found["dataset_split"])})
        for found in evaluations
    ]
    data = ModelCardData(license="apache-2.0", eval_results=results, **metadata)
    return ModelCard(card_text(data.to_yaml(), template.format(**values)))


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; a heading that ends in a colon has its column on the right, as there."""
    rules = ["---:" if heading.endswith(":") else "---" for heading in headings]
    lines = [
        f"| {' | '.join(heading.removesuffix(':') for heading in headings)} |",
        f"|{'|'.join(rules)}|",
        *(f"| {' | '.join(map(str, row))} |" for row in rows),
    ]
    return "\n".join(lines)


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """A recipe as YAML, as a card shows it."""
    import yaml

    return str(yaml.safe_dump(dict(recipe), sort_keys=False)).strip()


def card_text(metadata: str, text: str) -> str:
    """A card's content: the metadata, which is YAML, as front matter, then the text."""
    return f"---\n{metadata}\n---\n\n{text}"


def hub_split(split: str) -> str:
    """The name that the Hugging Face hub has for a split: "validation" for "valid"."""
    return {"valid": "validation"}.get(split, split)


def today() -> str:
    """The date in UTC, as YYYY-MM-DD."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def machine(device: str | None = None) -> dict[str, Any]:
    """What the figures were measured on: architecture, system, usable cores, PyTorch's threads.

    Args:
        device: where the model was, such as "cuda"; left out where None.
    """
    import torch

    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "architecture": platform.machine(),
        "system": platform.system(),
        **({} if device is None else {"device": device}),
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
    }


def versions(*distributions: str) -> dict[str, str]:
    """The versions of Python and of the distributions that produced the figures.

    Raises:
        importlib.metadata.PackageNotFoundError: a distribution that is not installed.
    """
    return {"python": platform.python_version(), **{name: version(name) for name in distributions}}
