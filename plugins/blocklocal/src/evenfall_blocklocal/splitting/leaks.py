"""The leak check: each parameter gets its gradient from exactly one local loss."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from evenfall.counting import without_wrappers
from evenfall.errors import shorten

from .autograd import ParameterGraph
from .inputs import move_call
from .result import Split, SplitError
from .trial import detach, differentiable, loss_tensors, unchanged


@dataclass(frozen=True)
class LeakReport:
    """What `check_leaks` returns.

    Attributes:
        blocks: for each block, the names of the parameters that its loss reaches.
        missing: trainable parameters that no loss reaches.
    """

    blocks: tuple[tuple[str, ...], ...]
    missing: tuple[str, ...]


def check_leaks(model: nn.Module, split: Split) -> LeakReport:
    """Run the blocks as in training, on the inputs of the split, and follow each block's output
    back to its parameters.

    Raises:
        SplitError: a parameter is reached from two losses, or a block has no parameter.
    """
    model = without_wrappers(model)
    roots: list[list[Any]] = []
    boundaries = list(split.boundaries)
    modules = dict(model.named_modules())
    for name in (*boundaries, *split.detached):
        if name not in modules:
            raise SplitError(
                f"the split is of another model: this one has no module {shorten(name)}"
            )

    def cut(module: nn.Module, args: Any, output: Any) -> Any:
        roots.append([tensor.grad_fn for tensor in differentiable(output)])
        return detach(output)

    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for name in split.detached:
            hook = model.get_submodule(name).register_forward_hook(lambda m, a, out: detach(out))
            stack.callback(hook.remove)
        for name in boundaries:
            stack.callback(model.get_submodule(name).register_forward_hook(cut).remove)
        stack.enter_context(torch.enable_grad())
        args, kwargs = move_call(model, split.call, split.kind)
        output = model(*args, **kwargs)
        roots.append([tensor.grad_fn for tensor in loss_tensors(output)])
        names = {id(p): name for name, p in model.named_parameters()}
        graphs = [ParameterGraph(found) for found in roots]
        reached = [tuple(g.names(g.reached(g.roots), names)) for g in graphs]
    return _report(model, split, reached)


def _report(model: nn.Module, split: Split, reached: list[tuple[str, ...]]) -> LeakReport:
    owner: dict[str, int] = {}
    for index, names in enumerate(reached):
        if not names:
            boundary = split.blocks[index].boundary
            raise SplitError(
                f"block {index + 1}, which ends after {shorten(boundary)}, has no parameter to "
                "train"
            )
        for name in names:
            if name in owner:
                raise SplitError(
                    f"leak: parameter {shorten(name)} gets gradients from the losses of blocks "
                    f"{owner[name] + 1} and {index + 1}"
                )
            owner[name] = index
    trained = [n for n, p in model.named_parameters() if p.requires_grad]
    return LeakReport(tuple(reached), tuple(name for name in trained if name not in owner))
