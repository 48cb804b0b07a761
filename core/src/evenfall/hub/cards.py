"""The text of a card: its metadata, where the Hub reads it, and tables."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def model_card(
    template: str,
    values: Mapping[str, Any],
    evaluations: Iterable[Mapping[str, Any]],
    **metadata: Any,
) -> Any:
    """A huggingface_hub ModelCard with the evaluations in its metadata, where the Hub reads them.

    Args:
        template: the text, with names of `values` in braces.
        values: by name, what replaces these.
        evaluations: the arguments of a huggingface_hub EvalResult each; `dataset_split` is the name
            of the split in Evenfall.
        **metadata: the other arguments of huggingface_hub's ModelCardData.

    Raises:
        KeyError: `values` lacks a name of the template.
    """
    from huggingface_hub import EvalResult, ModelCard, ModelCardData

    results = [
        EvalResult(**{**evaluation, "dataset_split": hub_split(evaluation["dataset_split"])})
        for evaluation in evaluations
    ]
    data = ModelCardData(license="apache-2.0", eval_results=results, **metadata)
    return ModelCard(card_text(data.to_yaml(), template.format(**values)))


def markdown_table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; a heading that ends in a colon aligns its column to the right. A cell
    may contain bars and line breaks, which would otherwise end it."""
    rules = ["---:" if heading.endswith(":") else "---" for heading in headings]
    lines = [
        f"| {' | '.join(heading.removesuffix(':') for heading in headings)} |",
        f"|{'|'.join(rules)}|",
        *(f"| {' | '.join(map(_cell, row))} |" for row in rows),
    ]
    return "\n".join(lines)


def _cell(value: object) -> str:
    return " ".join(str(value).splitlines()).replace("|", r"\|")


def wrap_text(text: str) -> str:
    """A paragraph in lines of at most 100 characters; words are not broken."""
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def recipe_text(recipe: Mapping[str, Any]) -> str:
    """A recipe as YAML, as a card shows it."""
    import yaml

    return str(yaml.safe_dump(dict(recipe), sort_keys=False)).strip()


def card_text(metadata: str, text: str) -> str:
    """The text of a card: the metadata, in YAML, as front matter, then `text`."""
    return f"---\n{metadata}\n---\n\n{text}"


def hub_split(split: str) -> str:
    """The name of a split on the Hugging Face Hub: "validation" for "valid"."""
    return {"valid": "validation"}.get(split, split)
