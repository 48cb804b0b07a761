"""Kinds of targets: how they are checked, encoded for the feedback, and scored.

Dimensions: B samples, L tokens, Y classes or labels, D natural parameters, V regressed values, N
rows that have a target.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from .families import Family

Task = Literal["classes", "tokens", "labels", "regression"]
TASKS = ("classes", "tokens", "labels", "regression")
MANY = 1000
"""From more classes than this on, only the Gaussian family scores all of them."""
IGNORED = -100
"""A target that is left out, as in torch's cross_entropy."""


class Targets(ABC):
    """One kind of targets.

    Attributes:
        outputs: width of the model's output: classes, labels or values.
        inputs: width of an encoded target.
    """

    per_token = False

    def __init__(self, outputs: int) -> None:
        self.outputs = self.inputs = outputs

    def encode(self, target: Tensor) -> Tensor | None:
        """The targets for the feedback, (Y, inputs); None for all classes, one-hot."""
        return None

    def rows(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of a head's output that have a target, and those targets."""
        return output, target

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of logits or predictions, as for the last block."""

    @abstractmethod
    def score_loss(self, family: Family, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
        """The class-normalised loss of natural parameters a (N, D) and feedback b."""

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        """The feedback (N, D) of each row's own target."""
        return b[target]


class ClassTargets(Targets):
    """(B,) class indices, or (B, Y) probabilities as mixup makes them.

    Args:
        outputs: Y.
        log_prior: (Y,) logarithms of class frequencies, added to the scores; None if uniform.
    """

    def __init__(self, outputs: int, log_prior: Tensor | None = None) -> None:
        super().__init__(outputs)
        self.log_prior = log_prior

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target, ignore_index=IGNORED)

    def score_loss(self, family: Family, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
        scores = family.scores(a, b)
        if self.log_prior is not None:
            scores = scores + self.log_prior.to(scores)
        return self.loss(scores, target)

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        return target.to(b.dtype) @ b if target.is_floating_point() else b[target]


class TokenTargets(ClassTargets):
    """(B, L) token indices, -100 where there is none; shifted by one for a causal model.

    Args:
        outputs: Y, the size of the vocabulary.
        causal: whether the output at token t predicts token t + 1.
        samples: with a family that cannot score many classes: how many random tokens are scored
            beside those of the batch.
    """

    per_token = True

    def __init__(self, outputs: int, causal: bool, samples: int = 256) -> None:
        super().__init__(outputs)
        self.causal, self.samples = causal, samples

    def rows(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        if output.shape[:-1] != target.shape:
            raise ValueError(
                f"targets of tokens have shape {tuple(target.shape)}, but the features have "
                f"{tuple(output.shape[:-1])}; packed or padded-away tokens cannot be matched"
            )
        if self.causal:
            output, target = output[:, :-1], target[:, 1:]
        output, target = output.reshape(-1, output.shape[-1]), target.reshape(-1)
        kept = target != IGNORED
        return output[kept], target[kept]

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target)

    def score_loss(self, family: Family, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
        if family.name == "gaussian" or self.outputs <= MANY:
            return super().score_loss(family, a, b, target)
        drawn = torch.randint(self.outputs, (self.samples,), device=target.device)
        classes, index = torch.unique(torch.cat([target, drawn]), return_inverse=True)
        return F.cross_entropy(family.scores(a, b[classes]), index[: len(target)])


class LabelTargets(Targets):
    """(B, Y) zeros and ones: several labels at once, each scored as a problem of two classes.

    The feedback has 2 Y rows: absent and present for each label.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.inputs = 2 * outputs

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target.to(output.dtype))

    def score_loss(self, family: Family, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
        absent, present = family.scores(a, b).unflatten(1, (self.outputs, 2)).unbind(2)
        return self.loss(present - absent, target)

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        absent, present = b.unflatten(0, (self.outputs, 2)).unbind(1)
        share = target.to(b.dtype)
        return share @ present + (1 - share) @ absent


class RegressionTargets(Targets):
    """(B,) or (B, V) values. There are no classes: the score of a sample's own target is normalised
    over the targets of the batch. Equal targets share it."""

    def encode(self, target: Tensor) -> Tensor | None:
        return target.reshape(len(target), -1).float()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.mse_loss(output.reshape(len(target), -1), target.reshape(len(target), -1).float())

    def score_loss(self, family: Family, a: Tensor, b: Tensor, target: Tensor) -> Tensor:
        values = target.reshape(len(target), -1)
        same = (values.unsqueeze(1) == values).all(-1).to(a.dtype)
        return F.cross_entropy(family.scores(a, b), same / same.sum(1, keepdim=True))

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        return b


def make_targets(task: str, outputs: int, causal: bool = False) -> Targets:
    """The targets of a task.

    Raises:
        ValueError: no such task.
    """
    if task == "tokens":
        return TokenTargets(outputs, causal)
    kinds = {"classes": ClassTargets, "labels": LabelTargets, "regression": RegressionTargets}
    if task not in kinds:
        raise ValueError(f"task must be one of {TASKS}, got {task!r}")
    return kinds[task](outputs)
