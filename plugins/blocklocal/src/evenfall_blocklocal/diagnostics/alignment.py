"""How far the local gradients point where backpropagation's do."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from ..local import BlockLocal
from ..splitting.trial import unchanged


def align_gradients(
    local: BlockLocal, *args: Any, target: Tensor, seed: int = 0, **kwargs: Any
) -> list[float]:
    """The cosine between the local gradient and that of backpropagation, for each block.

    Both are taken on one batch, from copies, with the same random numbers; gradients, statistics
    and random states of `local` stay as they are. The last block's is 1, up to rounding.

    Args:
        local: the blocks, in training mode or not.
        *args, **kwargs: arguments of the model.
        target: of the batch.
        seed: of dropout and similar.

    Returns:
        A number from -1 to 1 for each block; nan for a block without gradient.
    """
    found = []
    for rule in (local.rule_name, "backprop"):
        twin = _twin(local, rule, seed)
        with unchanged(twin):
            twin(*args, target=target, **kwargs).loss.backward()
        found.append([_flat(block) for block in twin.blocks_of_parameters()])
    return [
        float("nan") if a is None or b is None else float(torch.cosine_similarity(a, b, dim=0))
        for a, b in zip(*found, strict=True)
    ]


def _twin(local: BlockLocal, rule: str, seed: int) -> BlockLocal:
    twin = copy.deepcopy(local) if rule == local.rule_name else _with_backprop(local)
    twin.scale_loss = None
    twin.seed, twin.steps = seed, 0  # numbers that a rule draws shift none of another block
    twin.zero_grad()
    return twin.train()


def _with_backprop(local: BlockLocal) -> BlockLocal:
    return BlockLocal(
        copy.deepcopy(local.model), local.split, "backprop",
        task=local.task, criterion=local.criterion,
    )  # fmt: skip


def _flat(block: list[Any]) -> Tensor | None:
    gradients = [p.grad.flatten().double() for p in block if p.grad is not None]
    return torch.cat(gradients) if gradients else None
