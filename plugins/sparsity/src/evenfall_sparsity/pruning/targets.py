"""Which matrices of a model are pruned, and whether they can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from evenfall.counting import (
    Matrix,
    PlacedMatrix,
    counter_for,
    list_matrices,
    without_wrappers,
)
from evenfall.errors import closest, shorten, warn_user
from evenfall_kernels import StoredMatrix

from .blocks import Block, Grid


@dataclass(frozen=True)
class Target:
    """A matrix to prune; a tied one occurs once.

    Attributes:
        name: full name of the parameter.
        weight: the parameter.
        matrix: the statement of its counter.
        grid: its blocks.
        places: (module, name in the module) of each use of the parameter.
    """

    name: str
    weight: Tensor = field(repr=False)
    matrix: Matrix
    grid: Grid
    places: tuple[tuple[nn.Module, str], ...] = field(repr=False)


def find_targets(
    model: nn.Module,
    include: str | Sequence[str] | None,
    exclude: str | Sequence[str] | None,
    block: Block,
) -> list[Target]:
    """The matrices of a model to prune, in the order of its modules.

    Args:
        model: any module.
        include: patterns of parameter names, as in a shell; None for all matrices but tables that
            are looked up, such as an embedding, and what is tied to one.
        exclude: patterns of names that are left as they are; a tied matrix is excluded if one of
            its names matches.
        block: (r, c).

    Raises:
        ValueError: nothing matches, a block does not fit, or a matrix cannot be pruned in place.
        TypeError: the model is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got a {type(model).__name__}")
    model = without_wrappers(model)
    _check_not_quantised(model)
    groups = _tied_groups(list_matrices(model))
    included, excluded = _patterns("include", include), _patterns("exclude", exclude) or []
    chosen = []
    for group in groups:
        names = [one.name for one in group]
        is_table = any(one.matrix.role == "lookup" for one in group)
        wanted = not is_table if included is None else _matches(names, included)
        if wanted and not _matches(names, excluded):
            chosen.append(group)
    known = [one.name for group in groups for one in group]
    _check_excluded(model, excluded)
    if included is not None:
        _check_included(model, included, known)
    if not chosen:
        raise ValueError(
            "nothing to prune: the model has no matrix that a counter knows, besides tables that "
            "are looked up"
            if included is None and not excluded
            else f"nothing to prune: include {included} and exclude {excluded} leave no matrix of "
            f"{known[:8]}"
        )
    targets = [_target(group, block) for group in chosen]
    if included is None:
        _warn_of_unknown(model, groups, excluded)
    return targets


def _target(group: list[PlacedMatrix], block: Block) -> Target:
    first = group[0]
    # The statement of a product, where the matrix is a table as well.
    matrix = next((one.matrix for one in group if one.matrix.role != "lookup"), first.matrix)
    weight = first.weight
    places = []
    for one in group:
        attribute = one.matrix.parameter.rpartition(".")[2]
        if attribute not in one.holder._parameters:
            raise ValueError(
                f"{one.name} is computed from other parameters; remove the parametrisation first"
            )
        places.append((one.holder, attribute))
    if weight.is_meta or weight.layout != torch.strided or not weight.is_floating_point():
        kind = "on the meta device" if weight.is_meta else f"{weight.layout} of {weight.dtype}"
        raise ValueError(f"{first.name} must be a dense floating point tensor, but it is {kind}")
    if not bool(torch.isfinite(weight.detach()).all()):
        raise ValueError(f"{first.name} contains NaN or infinite weights")
    name = next(one.name for one in group if one.matrix is matrix)
    return Target(name, weight, matrix, Grid.of(weight, matrix, block, name), tuple(places))


def _tied_groups(matrices: Iterable[PlacedMatrix]) -> list[list[PlacedMatrix]]:
    """Matrices that are the same tensor, or the same memory in two parameters, together."""
    groups: dict[Any, list[PlacedMatrix]] = {}
    for one in matrices:
        weight = one.weight
        at = (weight.data_ptr(), tuple(weight.shape)) if weight.numel() else id(weight)
        groups.setdefault(id(weight) if weight.is_meta else at, []).append(one)
    return list(groups.values())


def _check_not_quantised(model: nn.Module) -> None:
    config = getattr(model, "config", None)
    if getattr(config, "quantization_config", None) is not None or any(
        isinstance(module, StoredMatrix) for module in model.modules()
    ):
        raise ValueError(
            "model is compressed or quantised already; prune the original model instead"
        )


def _patterns(argument: str, value: str | Sequence[str] | None) -> list[str] | None:
    if value is None:
        return None
    patterns = [value] if isinstance(value, str) else value
    if not isinstance(patterns, list | tuple) or not all(isinstance(p, str) for p in patterns):
        raise ValueError(f"{argument} must be patterns of parameter names, got {shorten(value)}")
    return list(patterns)


def _matches(names: Iterable[str], patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _parameter_names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters(remove_duplicate=False)]


def _check_included(model: nn.Module, patterns: list[str], known: list[str]) -> None:
    """Every pattern of include names a matrix that a counter states."""
    for pattern in patterns:
        if _matches(known, [pattern]):
            continue
        others = [name for name in _parameter_names(model) if fnmatchcase(name, pattern)]
        if others:
            raise ValueError(
                f"include {shorten(pattern)} matches {others[:3]}, but no counter states these as "
                "matrices, so their inputs and outputs are unknown; register a counter"
            )
        raise ValueError(
            f"include {shorten(pattern)} matches no parameter.{closest(pattern, known)}"
        )


def _check_excluded(model: nn.Module, patterns: list[str]) -> None:
    names = _parameter_names(model)
    for pattern in patterns:
        if not _matches(names, [pattern]):
            raise ValueError(
                f"exclude {shorten(pattern)} matches no parameter.{closest(pattern, names)}"
            )


def _warn_of_unknown(
    model: nn.Module, groups: list[list[PlacedMatrix]], excluded: list[str]
) -> None:
    known = {id(one.weight) for group in groups for one in group}
    left = [
        name
        for name, weight in model.named_parameters()
        if weight.dim() > 1 and id(weight) not in known and not _matches([name], excluded)
    ]
    left = [name for name in left if not _has_counter(model, name)]
    if left:
        more = f" and {len(left) - 4} more" if len(left) > 4 else ""
        warn_user(
            f"not pruned, because no counter states their inputs: {left[:4]}{more}; exclude them "
            "to silence this",
            UserWarning,
        )


def _has_counter(model: nn.Module, name: str) -> bool:
    """Whether the module of a parameter, or one around it, has a counter: then the parameter is no
    matrix, or the counter would state it."""
    path = name.split(".")[:-1]
    around = [model.get_submodule(".".join(path[:length])) for length in range(len(path) + 1)]
    counters = [counter_for(module) for module in around]
    return any(one is not None and one.links is None for one in counters)
