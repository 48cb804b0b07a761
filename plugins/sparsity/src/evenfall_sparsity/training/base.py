"""What all ways of training with removed weights share: matrices, masks, state, steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from evenfall.checks import check_integer
from evenfall.counting import without_wrappers
from evenfall.runs import Callback, TrainingContext

from ..pruning.blocks import Block, check_block
from ..pruning.masks import Mask, mask_of, set_mask
from ..pruning.one_shot import Pruning, report
from ..pruning.targets import Target, find_targets


class SparseTraining(Callback):
    """Base class: a callback of recipes, and an object for loops of your own.

    In a loop, call `prepare(model)` once, then `step(...)` after each step of the optimiser. In a
    recipe it is called by the training loop.

    Args:
        include, exclude, block: as in `prune`.

    Raises:
        ValueError: a block of another form.
    """

    def __init__(
        self,
        include: str | Sequence[str] | None,
        exclude: str | Sequence[str] | None,
        block: Block | str,
    ) -> None:
        self.include, self.exclude, self.block = include, exclude, check_block(block)
        self.targets: list[Target] = []
        self.is_complete = False

    def prepare(self, model: nn.Module) -> None:
        """Find the matrices, and begin anew; weights that are zero now stay zero.

        Raises:
            ValueError, TypeError: as `prune`.
        """
        self.targets = find_targets(model, self.include, self.exclude, self.block)
        self.is_complete = False
        for target in self.targets:
            set_mask(target.weight, target.places, target.weight.detach() == 0)

    def step(
        self,
        step: int,
        total_steps: int,
        optimizer: torch.optim.Optimizer | None = None,
        averaged: nn.Module | None = None,
    ) -> None:
        """Do what is due after a step of the optimiser.

        Args:
            step: steps done, from 1.
            total_steps: steps of the whole run.
            optimizer: its state at removed weights is set to zero as well.
            averaged: a copy of the model with averaged weights, such as torch's AveragedModel,
                which gets the same zeros.

        Raises:
            RuntimeError: `prepare` was not called.
            ValueError: step is no integer from 1 to total_steps.
        """
        check_integer("total_steps", total_steps, 1)
        check_integer("step", step, 1, total_steps + 1)
        if not self.targets:
            raise RuntimeError(f"call prepare(model) of {type(self).__name__} before its steps")
        if self.update(step, total_steps, optimizer):
            for target in self.targets:
                mask = self.mask(target)
                mask.apply(target.weight, optimizer and optimizer.state.get(target.weight))
                if averaged is not None:
                    mask.apply(_bare(averaged).get_parameter(target.name))

    def update(self, step: int, total_steps: int, optimizer: Any) -> bool:
        """Change the masks if it is time; return whether they changed."""
        raise NotImplementedError

    def mask(self, target: Target) -> Mask:
        """The mask of a matrix."""
        mask = mask_of(target.weight)
        if mask is None:
            raise RuntimeError(f"the mask of {target.name} was released during training")
        return mask

    def set_removed(self, target: Target, removed: Tensor) -> None:
        """Replace the mask of a matrix."""
        set_mask(target.weight, target.places, removed.contiguous())

    def report(self) -> Pruning:
        """The matrices, with their numbers of weights and zeros now."""
        return report(self.targets, self.block)

    def on_step_end(self, context: TrainingContext) -> None:
        """As `step`."""
        self.step(context.step, context.total_steps, context.optimizer, context.averaged_model)

    def counts_as_best(self) -> bool:
        """Whether the wanted sparsity is reached."""
        return self.is_complete

    def state_dict(self) -> dict[str, Any]:
        """The masks, packed, and whether the wanted sparsity is reached."""
        masks = {one.name: _pack(self.mask(one).removed) for one in self.targets}
        return {"masks": masks, "is_complete": self.is_complete}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load the state.

        Raises:
            ValueError: it belongs to other matrices.
        """
        names, expected = sorted(state["masks"]), sorted(one.name for one in self.targets)
        if names != expected:
            raise ValueError(
                f"the checkpoint has masks of {names[:4]}, but the run prunes {expected[:4]}"
            )
        for target in self.targets:
            packed = state["masks"][target.name]
            if len(packed) != -(-target.weight.numel() // 8):
                raise ValueError(
                    f"the checkpoint's mask of {target.name} has {len(packed)} bytes, want "
                    f"{-(-target.weight.numel() // 8)}"
                )
            removed = _unpack(packed, target.weight.shape)
            self.set_removed(target, removed.to(target.weight.device))
        self.is_complete = state["is_complete"]


def _bare(averaged: nn.Module) -> nn.Module:
    """The copy of the model, whose names are those of the targets."""
    if isinstance(averaged, AveragedModel):
        averaged = averaged.module
    bare: nn.Module = without_wrappers(averaged)
    return bare


def _pack(mask: Tensor) -> Tensor:
    """A boolean mask as bits, (ceil(N / 8),) uint8."""
    return torch.from_numpy(np.packbits(mask.cpu().numpy()))


def _unpack(packed: Tensor, shape: torch.Size) -> Tensor:
    bits = np.unpackbits(packed.numpy(), count=shape.numel())
    return torch.from_numpy(bits).bool().view(shape)


def sum_over_ranks(tensor: Tensor) -> Tensor:
    """The sum of a tensor over all ranks of a distributed run, in place: each sees only the
    gradients of its own examples."""
    distributed = torch.distributed
    if distributed.is_available() and distributed.is_initialized():
        distributed.all_reduce(tensor)
    return tensor
