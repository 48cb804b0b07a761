"""Which matrices of a model are pruned, and whether they can be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from evenfall.counting import Matrix, PlacedMatrix, counter_for, is_sharded, list_matrices
from evenfall.errors import closest, shorten, warn_user

from ..checks import bare_model, check_original, check_weight, matches, read_patterns
from .blocks import Block, Grid
from .masks import mask_of


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
        ValueError: nothing matches, a block does not fit, a matrix cannot be pruned in place, or
            the model is sharded by FSDP.
        TypeError: the model is not a module.
    """
    if isinstance(model, nn.Module) and is_sharded(model):
        raise ValueError("model must not be sharded by FSDP, which replaces its parameters")
    model = bare_model(model)
    check_original(model)
    groups = _tied_groups(list_matrices(model))
    included, excluded = read_patterns("include", include), read_patterns("exclude", exclude) or []
    chosen = []
    for group in groups:
        names = [one.name for one in group]
        is_table = any(one.matrix.role == "lookup" for one in group)
        wanted = not is_table if included is None else matches(names, included)
        has_weights = group[0].weight.numel() > 0
        if wanted and has_weights and not matches(names, excluded):
            chosen.append(group)
    known = [one.name for group in groups for one in group]
    _check_excluded(model, excluded)
    if included is not None:
        _check_included(model, included, known)
    if not chosen:
        raise ValueError(
            "nothing to prune: the model has no matrix that a counter knows, besides empty ones "
            "and tables that are looked up"
            if included is None and not excluded
            else f"nothing to prune: include {included} and exclude {excluded} leave no matrix of "
            f"{known[:8]}"
        )
    targets = [_target(group, block) for group in chosen]
    _warn_of_zeros(targets)
    if included is None:
        _warn_of_unknown(model, groups, excluded)
    return targets


def _warn_of_zeros(targets: list[Target]) -> None:
    """A matrix that begins at zero, as the second one of LoRA does, would never change."""
    zero = [
        one.name
        for one in targets
        if mask_of(one.weight) is None and not bool(one.weight.detach().any())
    ]
    if zero:
        warn_user(
            f"zero everywhere, and kept at zero in training: {zero[:4]}; exclude what begins at "
            "zero and shall be trained",
            UserWarning,
        )


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
    check_weight(first.name, weight)
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


def _parameter_names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters(remove_duplicate=False)]


def _check_included(model: nn.Module, patterns: list[str], known: list[str]) -> None:
    """Every pattern of include names a matrix that a counter states."""
    for pattern in patterns:
        if matches(known, [pattern]):
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
        if not matches(names, [pattern]):
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
        if weight.dim() > 1 and id(weight) not in known and not matches([name], excluded)
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
