"""`split_blocks`: legal cuts, and a choice among them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from torch import nn

from evenfall.checks import check_choice, check_integer
from evenfall.counting import without_wrappers
from evenfall.errors import closest, shorten
from evenfall.splitters import splitter_for

from ..features import find_shape, read_output
from .balance import choose_cuts
from .inputs import Call, example_call, float_type, named_arguments
from .result import Block, Split, SplitError
from .ties import detached_owners, find_ties, untie
from .trial import Point, Trial, record

Balance = Literal["params", "macs", "activations"]
Tied = Literal["refuse", "untie", "last"]
BALANCES = ("params", "macs", "activations")
TIED = ("refuse", "untie", "last")


def split_blocks(
    model: nn.Module,
    k: int | None = None,
    *,
    balance: Balance | None = None,
    boundaries: Sequence[str] | Literal["middle"] | None = None,
    inputs: Any = None,
    tied: Tied = "refuse",
) -> Split:
    """Cut a model into blocks between which no gradient needs to flow.

    A model may be cut after module M if every path in the autograd graph from the output to the
    parameters before M leads through the output of M (M dominates them). The model is called once
    to find out; its weights, buffers and the random state stay as they are.

    Args:
        model: a timm model, a transformers encoder or decoder, a torch_geometric stack, an
            nn.Sequential, or any other module.
        k: number of blocks; 4 by default, or what `boundaries` gives.
        balance: what the blocks should have alike: "params", "macs" or "activations", the bytes
            saved for the backward pass. Custom kernels count no MACs. None for MACs, or parameters
            if no MACs are counted before the last legal cut: most parameters of a convolutional
            network are in its last stage, and three of four blocks would be, too.
        boundaries: names of modules after which to cut, or "middle" for one cut where half of the
            cost is reached; None to choose.
        inputs: a tensor, tuple or dict of arguments of a small call. timm and transformers models
            and those with a registered splitter need none.
        tied: what to do if tied weights leave too few cuts: "refuse"; "untie", which copies them in
            `model`; "last", which trains them by the last block alone.

    Returns:
        The blocks, and every legal cut.

    Raises:
        SplitError: too few legal cuts, a boundary that is none, tied weights, a re-used module,
            gradient checkpointing is on.
        ValueError: an unknown option, or inputs are needed.
    """
    _check_options(k, balance, boundaries, tied)
    model = without_wrappers(model)
    refuse_checkpointing(model)
    call = example_call(model, inputs)
    trial = record(model, call)
    cuts = _legal(model, trial)
    lines: list[str] = []
    detached: list[str] = []
    wanted = _count(k, boundaries)
    ties = find_ties(model)
    if ties and tied != "refuse":
        if tied == "untie":
            lines = untie(model, ties)
        else:
            detached, lines = detached_owners(model, ties, trial.order)
        trial = record(model, call, detached)
        cuts = _legal(model, trial)
    names = tuple(point.name for point in cuts)
    if len(cuts) < wanted - 1:
        raise SplitError(_too_few(model, names, wanted, [str(tie) for tie in ties], trial))
    chosen = _choose(cuts, trial, wanted, balance, boundaries)
    return Split(
        blocks=_blocks(model, call, trial, chosen),
        legal=names,
        unused=_unused(model, trial),
        tied=tuple(lines),
        detached=tuple(detached),
        cloned=frozenset(point.name for point in chosen if point.is_changed),
        call=call,
        kind=float_type(model),
        output=trial.output,
    )


def refuse_checkpointing(model: nn.Module) -> None:
    """Raise SplitError if gradient checkpointing is on: it would run the hooks twice."""
    for name, module in model.named_modules():
        if getattr(module, "grad_checkpointing", False) or (
            getattr(module, "gradient_checkpointing", False) is True
        ):
            raise SplitError(
                f"gradient checkpointing is on in {shorten(name or type(model).__name__)} and "
                f"runs blocks "
                "twice; turn it off, since block-local training frees activations block by block"
            )


def _check_options(k: Any, balance: str | None, boundaries: Any, tied: str) -> None:
    if k is not None:
        check_integer("k", k, 1)
    if balance is not None:
        check_choice("balance", balance, BALANCES)
    check_choice("tied", tied, TIED)
    named = isinstance(boundaries, list | tuple) and all(isinstance(b, str) for b in boundaries)
    if not (boundaries is None or boundaries == "middle" or named):
        raise ValueError(
            f"boundaries must be 'middle' or a list of names, got {shorten(boundaries)}"
        )
    if boundaries is not None and k is not None and k != _count(None, boundaries):
        raise ValueError(
            f"k must be {_count(None, boundaries)}, the number of blocks between the boundaries, "
            f"got {k}"
        )


def _count(k: int | None, boundaries: Any) -> int:
    if boundaries is None:
        return 4 if k is None else k
    return 2 if boundaries == "middle" else len(boundaries) + 1


def _legal(model: nn.Module, trial: Trial) -> list[Point]:
    """The cuts that dominate what is before them; of those with one and the same set of parameters
    before, the outermost module and, among equals, the last."""
    splitter = splitter_for(model)
    named = splitter.boundaries if splitter is not None else None
    allowed = None if named is None else set(named(model))
    everything = trial.graph.reached(trial.graph.roots)
    by_parameters: dict[int, Point] = {}
    made_by: dict[tuple[Any, ...], str] = {}
    for point in trial.points:
        # What hands on another module's tensor, such as Identity, cuts only one of its uses.
        maker = made_by.setdefault(point.nodes, point.name)
        if maker != point.name and not maker.startswith(f"{point.name}."):
            continue
        before = trial.graph.reached(point.nodes)
        if point.name in trial.reused or not before or before == everything:
            continue
        if allowed is not None and point.name not in allowed:
            continue
        if not any(node in trial.graph for node in point.nodes):
            continue
        if before & trial.graph.reached_without(set(point.nodes)):
            continue
        known = by_parameters.get(before)
        if known is None or point.name.count(".") <= known.name.count("."):
            by_parameters[before] = point
    return sorted(by_parameters.values(), key=trial.points.index)


def _choose(
    cuts: list[Point], trial: Trial, blocks: int, balance: str | None, boundaries: Any
) -> list[Point]:
    if boundaries is not None and boundaries != "middle":
        by_name = {point.name: point for point in cuts}
        for name in boundaries:
            if name not in by_name:
                raise SplitError(
                    f"boundaries: the model cannot be cut after "
                    f"{shorten(name)}.{closest(name, by_name)}"
                )
        chosen = sorted((by_name[name] for name in boundaries), key=cuts.index)
        if len(set(map(id, chosen))) < len(chosen):
            raise SplitError(f"boundaries must differ, got {shorten(list(boundaries))}")
        return chosen
    whole = [point for point in cuts if not _is_inside_unit(point.name, cuts)]
    cuts = whole if len(whole) >= blocks - 1 else cuts
    if balance is None:
        balance = "macs" if cuts and cuts[-1].macs else "params"
    reached = [_cost(point, trial, balance) for point in cuts]
    total = _total(trial, balance)
    if total <= 0:
        raise SplitError(
            f"balance={shorten(balance)} counts nothing in this model; use balance='params'"
        )
    return [cuts[index] for index in choose_cuts(reached, total, blocks)]


def _is_inside_unit(name: str, cuts: list[Point]) -> bool:
    """Whether a cut is inside of one of a row of layers that is a cut itself, as the attention of
    "layer.3" is, but not "blocks.0" of "stages.2"."""
    legal = {point.name for point in cuts}
    parts = name.split(".")
    return any(
        parts[length - 1].isdigit()
        and ".".join(parts[:length]) in legal
        and not any(part.isdigit() for part in parts[length:])
        for length in range(1, len(parts))
    )


def _cost(point: Point, trial: Trial, balance: str) -> float:
    if balance == "params":
        return _numel(trial, trial.graph.reached(point.nodes))
    return point.macs if balance == "macs" else point.saved


def _total(trial: Trial, balance: str) -> float:
    if balance == "params":
        return _numel(trial, trial.graph.reached(trial.graph.roots))
    return trial.macs if balance == "macs" else trial.saved


def _numel(trial: Trial, found: int) -> int:
    return sum(p.numel() for i, p in enumerate(trial.graph.parameters) if found >> i & 1)


def _blocks(model: nn.Module, call: Call, trial: Trial, cuts: list[Point]) -> tuple[Block, ...]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    named = named_arguments(model, *call)
    splitter = splitter_for(model)
    read = splitter.features if splitter is not None and splitter.features else read_output
    blocks, before, macs, saved = [], 0, 0.0, 0.0
    for point in cuts:
        reached = trial.graph.reached(point.nodes)
        own = reached & ~before
        shape = find_shape(model, *read(point.inputs, point.output, named), named)
        parameters = tuple(trial.graph.names(own, names))
        numel = _numel(trial, own)
        cost = point.macs - macs, point.saved - saved
        blocks.append(Block(point.name, parameters, numel, *cost, shape))
        before, macs, saved = reached, point.macs, point.saved
    rest = trial.graph.reached(trial.graph.roots) & ~before
    parameters = tuple(trial.graph.names(rest, names))
    cost = trial.macs - macs, trial.saved - saved
    return (*blocks, Block(None, parameters, _numel(trial, rest), *cost))


def _unused(model: nn.Module, trial: Trial) -> tuple[str, ...]:
    used = {id(parameter) for parameter in trial.graph.parameters}
    return tuple(n for n, p in model.named_parameters() if p.requires_grad and id(p) not in used)


def _too_few(
    model: nn.Module, legal: Sequence[str], wanted: int, ties: list[str], trial: Trial
) -> str:
    listed = f": {', '.join(legal)}" if legal else ""
    message = (
        f"{type(model).__name__} has {len(legal)} legal cuts{listed}, but k = {wanted} blocks need "
        f"{wanted - 1}"
    )
    if ties:
        return (
            f"{message}. Tied weights forbid cuts between their uses: {'; '.join(ties)}. Pass "
            "tied='untie' to copy them, or tied='last' to train them by the last block alone"
        )
    if trial.reused:
        shown = ", ".join(sorted(trial.reused)[:5])
        return f"{message}. Modules that are called more than once are no cuts: {shown}"
    return message
