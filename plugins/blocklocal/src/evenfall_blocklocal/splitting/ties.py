"""Weights that several modules share, such as the embedding and the decoder of a language model.

If they lie in different blocks, no cut between them is legal: two losses would train them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from evenfall.errors import shorten

from .result import SplitError


@dataclass(frozen=True)
class Tie:
    """One parameter under several names.

    Attributes:
        names: full names of the parameter.
        owners: names of the modules, in the same order.
    """

    names: tuple[str, ...]
    owners: tuple[str, ...]

    def __str__(self) -> str:
        return " = ".join(self.names)


def find_ties(model: nn.Module) -> list[Tie]:
    """Every trainable parameter that several modules own."""
    names: dict[int, list[str]] = {}
    for prefix, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad:
                full = f"{prefix}.{name}" if prefix else name
                names.setdefault(id(parameter), []).append(full)
    return [
        Tie(tuple(group), tuple(name.rpartition(".")[0] for name in group))
        for group in names.values()
        if len(group) > 1
    ]


def untie(model: nn.Module, ties: Sequence[Tie]) -> list[str]:
    """Give every owner except the first a copy of the parameter; returns a line for each tie."""
    lines = []
    for tie in ties:
        first = model.get_parameter(tie.names[0])
        for name, owner in zip(tie.names[1:], tie.owners[1:], strict=True):
            copy = nn.Parameter(first.detach().clone())
            setattr(model.get_submodule(owner), name.rpartition(".")[2], copy)
        lines.append(f"{tie}: untied, each has its own copy")
    config: Any = getattr(model, "config", None)
    if hasattr(config, "tie_word_embeddings"):
        config.tie_word_embeddings = False
    return lines


def detached_owners(
    model: nn.Module, ties: Sequence[Tie], order: Sequence[str]
) -> tuple[list[str], list[str]]:
    """For each tie, the owners except the one that is called last, and a line that says so. Owners
    inside of each other are one.

    Raises:
        SplitError: such an owner has other trainable parameters, which would no longer train.
    """
    detached: list[str] = []
    lines = []
    for tie in ties:
        inner = max(tie.owners, key=len)
        if all(inner == owner or inner.startswith(f"{owner}.") for owner in tie.owners):
            continue  # in one place, as a bias that BERT's head and its decoder own
        called = sorted(set(tie.owners), key=lambda name: _position(order, name))
        shared = {id(model.get_parameter(tie.names[0]))}
        for owner in called[:-1]:
            others = [
                n for n, p in model.get_submodule(owner).named_parameters() if id(p) not in shared
            ]
            if others:
                raise SplitError(
                    f"tied='last' would also stop the training of {others[:3]} of "
                    f"{shorten(owner)}; use "
                    "tied='untie'"
                )
            detached.append(owner)
        lines.append(f"{tie}: trained by the last block alone; {called[:-1]} use a detached copy")
    return detached, lines


def _position(order: Sequence[str], name: str) -> int:
    """Where a module is first called; the end for one that is never called."""
    return order.index(name) if name in order else len(order)
