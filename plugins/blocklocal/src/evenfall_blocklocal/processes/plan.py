"""Which rank has which blocks, and whether a model can be split over ranks at all."""

from __future__ import annotations

import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from evenfall.checks import check_integer
from evenfall.counting import without_wrappers
from evenfall.errors import shorten

from ..local import BlockLocal
from ..splitting.balance import choose_cuts
from ..splitting.inputs import move_call
from ..splitting.trial import record, unchanged

_PLAIN = (Tensor, int, float, bool, str, type(None))


@dataclass(frozen=True)
class Plan:
    """Blocks of each stage.

    Attributes:
        stages: (first, last) block of each stage.
        replicas: ranks that share a stage and split the batch.
    """

    stages: tuple[tuple[int, int], ...]
    replicas: int = 1

    def stage_of(self, rank: int) -> tuple[int, int]:
        """(stage, replica) of a rank: the replicas of a stage have consecutive ranks."""
        return divmod(rank, self.replicas)


def make_plan(local: BlockLocal, ranks: int, replicas: int = 1) -> Plan:
    """Give each stage consecutive blocks, so that the stage with most MACs has as few as possible.

    Raises:
        ValueError: the blocks cannot be split over these ranks; the message has every reason.
    """
    reasons = explain_plan(local, ranks, replicas)
    if reasons:
        raise ValueError(f"cannot split over {ranks} ranks: {'; '.join(reasons)}")
    blocks = local.split.blocks
    costs = [block.macs or float(block.numel) for block in blocks]
    reached = list(itertools.accumulate(costs))
    ends = [*choose_cuts(reached[:-1], reached[-1], ranks // replicas), len(blocks) - 1]
    starts = [0, *(end + 1 for end in ends[:-1])]
    return Plan(tuple(zip(starts, ends, strict=True)), replicas)


def explain_plan(local: BlockLocal, ranks: int, replicas: int = 1) -> list[str]:
    """Every reason why the blocks cannot be split over ranks; empty if they can. Starts no process.

    It looks at the rule, the feedback, the number of blocks, tied weights, and at the outputs that
    would be sent.

    Raises:
        ValueError: ranks or replicas is no positive integer.
    """
    reasons = []
    check_integer("ranks", ranks, 1)
    check_integer("replicas", replicas, 1)
    if ranks % replicas:
        return [f"{ranks} ranks are no multiple of {replicas} replicas"]
    stages = ranks // replicas
    if stages > len(local.split.blocks):
        reasons.append(
            f"{stages} stages need as many blocks, but there are {len(local.split.blocks)}"
        )
    if local.rule.reads_next or local.rule.waits:
        reasons.append(f"rule {shorten(local.rule_name)} needs weights or errors of later blocks")
    chained = local.rule_name in ("bll", "bll-kl") and local.rule.options.feedback == "chained"
    if chained and stages > 1 and len(local.split.boundaries) > 1:
        reasons.append(
            "chained feedback makes each block wait for the next one's last step; use "
            "feedback='direct'"
        )
    if local.split.detached:
        reasons.append(
            f"tied='last' feeds {shorten(local.split.detached[0])} weights of the last block"
        )
    if local.backward_mode != "inside":
        reasons.append("backward must be 'inside'")
    return [*reasons, *_unsendable(local)]


def find_buffers(local: BlockLocal) -> list[list[str]]:
    """Names of the modules that own buffers, by the block in which they are first called. Some,
    such as BatchNorm(affine=False), own no parameter that would tell their block."""
    model = without_wrappers(local.model)
    found: list[list[str]] = [[] for _ in local.split.blocks]
    passed: list[str] = []

    def begin(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            if not any(name in names for names in found):
                found[len(passed)].append(name)

        return hook

    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(unchanged(model))
        for name, module in model.named_modules():
            if next(module.buffers(recurse=False), None) is not None:
                stack.callback(module.register_forward_pre_hook(begin(name)).remove)
        for name in local.split.boundaries:
            end = model.get_submodule(name).register_forward_hook(lambda *_: passed.append(""))
            stack.callback(end.remove)
        args, kwargs = move_call(model, local.split.call, local.split.kind)
        model(*args, **kwargs)
    return found


def _unsendable(local: BlockLocal) -> list[str]:
    """The boundaries whose output has parts that are neither tensors nor plain values.

    An object that PyTorch can take apart is such a part, too: the sizes of its tensors may depend
    on their contents, and a rank knows the sizes of what it receives from the first call.
    """
    model = without_wrappers(local.model)
    trial = record(model, move_call(model, local.split.call, local.split.kind))
    outputs: dict[str, Any] = {point.name: point.output for point in trial.points}
    found = []
    for name in local.split.boundaries:
        parts = tree_leaves(outputs[name], lambda x: not isinstance(x, tuple | list | dict))
        kinds = {type(x).__name__ for x in parts if not isinstance(x, _PLAIN)}
        if kinds:
            found.append(f"the output of {shorten(name)} contains {', '.join(sorted(kinds))}")
    return found
