"""Linear probes: how well a linear classifier reads the classes from each block's features."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from evenfall.counting import without_wrappers
from evenfall.errors import shorten

from ..features import Features, pool_samples
from ..local import BlockLocal
from ..outputs import main_tensor
from ..splitting.inputs import as_call
from ..splitting.trial import unchanged

_RIDGE = 1e-2


@torch.no_grad()
def probe_blocks(
    local: BlockLocal,
    training: Iterable[tuple[Any, Tensor]],
    held_out: Iterable[tuple[Any, Tensor]],
    grid: tuple[int, int] = (2, 2),
) -> list[float]:
    """Accuracy of a linear probe after each block but the last, and of the model itself.

    The probe is ridge regression to one-hot classes on pooled, standardised features of the model
    in eval mode; it is fitted in closed form. A good local rule can have a *lower* accuracy in
    early blocks: they keep information that later blocks need.

    Args:
        local: with targets of classes.
        training: (arguments of the model, classes) batches to fit the probes; arguments are a
            tensor, a tuple of positional or a dict of keyword arguments.
        held_out: batches to test them.
        grid: rows and columns to which images are pooled.

    Returns:
        One accuracy for each block.

    Raises:
        ValueError: the targets are no classes, or there are no batches.
    """
    if local.task != "classes":
        raise ValueError(f"probes need targets of classes, got task {shorten(local.task)}")
    with unchanged(local):
        local.eval()
        fitted, labels, _ = _features(local, training, grid)
        tested, wanted, outputs = _features(local, held_out, grid)
    classes = local.targets.outputs
    accuracies = [
        float((_fit(a, labels, classes)(b) == wanted).double().mean())
        for a, b in zip(fitted, tested, strict=True)
    ]
    return [*accuracies, float((outputs.argmax(1) == wanted).double().mean())]


def _features(
    local: BlockLocal, batches: Iterable[tuple[Any, Tensor]], grid: tuple[int, int]
) -> tuple[list[Tensor], Tensor, Tensor]:
    model = without_wrappers(local.model)
    found: list[list[Tensor]] = [[] for _ in local.split.boundaries]
    labels, outputs = [], []

    def keep(index: int) -> Any:
        def hook(module: Any, inputs: Any, output: Any) -> None:
            values, graphs = local.read(inputs, output, named)
            features = Features(values, graphs, count, named.get("attention_mask"))
            found[index].append(pool_samples(features, local.shapes[index], grid).double())

        return hook

    handles = [
        model.get_submodule(name).register_forward_hook(keep(index))
        for index, name in enumerate(local.split.boundaries)
    ]
    try:
        for inputs, target in batches:
            args, kwargs = as_call(inputs)
            named, count = local.named_arguments(args, kwargs), len(target)
            outputs.append(main_tensor(model(*args, **kwargs)))
            labels.append(target)
    finally:
        for handle in handles:
            handle.remove()
    if not labels:
        raise ValueError("probes need at least one batch of training and of held_out, got none")
    return [torch.cat(rows) for rows in found], torch.cat(labels), torch.cat(outputs)


def _fit(rows: Tensor, labels: Tensor, classes: int) -> Any:
    mean = rows.mean(0)
    deviation = rows.std(0, correction=int(len(rows) > 1)) + 1e-6  # of one row it would be NaN
    x = (rows - mean) / deviation
    y = F.one_hot(labels, classes).double()
    centre = y.mean(0)
    gram = x.t() @ x + _RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype, device=x.device)
    weight = torch.linalg.solve(gram, x.t() @ (y - centre))
    return lambda other: (((other - mean) / deviation) @ weight + centre).argmax(1)
