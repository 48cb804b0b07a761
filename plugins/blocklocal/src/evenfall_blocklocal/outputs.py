"""What a model and a training call return, and what a model's output says about its targets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from .targets import Targets, Task, make_targets


@dataclass(frozen=True)
class LocalOutput:
    """What a training call of BlockLocal returns.

    Attributes:
        loss: the sum of all losses. Call `loss.backward()`: it trains the last block, and with
            backward="after" the others, too.
        output: of the model.
        losses: the loss of each block, detached; None for a block without one.
    """

    loss: Tensor
    output: Any
    losses: tuple[Tensor | None, ...]


def guess_task(output: Any, config: Any = None) -> Task:
    """Tokens, if a model with this output predicts at each position; else what the configuration of
    a transformers model says, or classes."""
    if main_tensor(output).dim() == 3:
        return "tokens"
    kind = getattr(config, "problem_type", None)
    if kind == "multi_label_classification":
        return "labels"
    is_regression = kind == "regression" or getattr(config, "num_labels", None) == 1
    return "regression" if is_regression else "classes"


def targets_of(output: Any, task: str, causal: bool, samples: int | None = None) -> Targets:
    """The targets of a model that has this output."""
    return make_targets(task, width_of(output), causal, samples)


def width_of(output: Any) -> int:
    """Classes, labels or values that the model predicts."""
    logits = main_tensor(output)
    return logits.shape[-1] if logits.dim() > 1 else 1


def main_tensor(output: Any) -> Tensor:
    """The logits or predictions in a model's output."""
    for name in ("logits", "last_hidden_state"):
        value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    if isinstance(output, Tensor):
        return output
    leaves = [leaf for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
    found = [leaf for leaf in leaves if leaf.dim()]  # a tuple with labels begins with the loss
    if not found:
        raise ValueError(
            f"the output of the model must contain predictions, got a {type(output).__name__} "
            f"with {len(leaves)} single numbers"
        )
    return found[0]
