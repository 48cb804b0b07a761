"""Kinds of targets: how they are checked, encoded for the feedback, and scored.

Dimensions: B samples, L tokens, Y classes or labels, D natural parameters, V regressed values, N
rows that have a target.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenfall.checks import check_choice
from evenfall.errors import shorten

from .families import Family, Gaussian
from .many_classes import linear_cross_entropy

Task = Literal["classes", "tokens", "labels", "regression"]
TASKS = ("classes", "tokens", "labels", "regression")
MANY = 1000
"""From more classes than this on, only the Gaussian family scores all of them."""
SAMPLES = 256
"""Random tokens that other families score beside those of the batch, unless `samples` is given."""
IGNORED = -100
"""A target that is left out, as in torch's cross_entropy."""


class Drawn(NamedTuple):
    """Some classes that stand for all of them in one loss.

    Attributes:
        classes: (C,) indices of classes, all different.
        target: (N,) index into `classes` of each row's own class.
        offset: (C,) added to the scores: the logarithm of how many classes each stands for.
    """

    classes: Tensor
    target: Tensor
    offset: Tensor


class Targets(ABC):
    """One kind of targets.

    Attributes:
        outputs: width of the model's output: classes, labels or values.
        inputs: width of an encoded target.
    """

    per_token = False

    def __init__(self, outputs: int) -> None:
        self.outputs = self.inputs = outputs

    @abstractmethod
    def check(self, target: Tensor, values: bool = True) -> Tensor:
        """The target, class indices as int64.

        Args:
            target: of one call.
            values: whether to look at its values too, which makes a GPU wait.

        Raises:
            ValueError: its shape, type or values do not fit.
        """

    def encode(self, target: Tensor) -> Tensor | None:
        """The targets for the feedback, (Y, inputs); None for all classes, one-hot."""
        return None

    def rows(self, output: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of a head's output that have a target, and those targets."""
        return output, target

    def draw(self, target: Tensor, family: Family | None = None) -> Drawn | None:
        """Classes to score for these rows, by this family or a linear layer; None for all."""
        return None

    @abstractmethod
    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss of logits or predictions, as for the last block."""

    def linear_loss(self, rows: Tensor, layer: nn.Linear, target: Tensor) -> Tensor:
        """The loss of what a linear layer makes of these rows."""
        return self.loss(layer(rows), target)

    @abstractmethod
    def score_loss(
        self, family: Family, a: Tensor, b: Tensor, target: Tensor, offset: Tensor | None = None
    ) -> Tensor:
        """The class-normalised loss of natural parameters a (N, D) and feedback b.

        Args:
            family: that scores the classes.
            a: natural parameters of each row.
            b: feedback of each class, or of the classes of `draw`.
            target: of each row, an index into b if it is a class.
            offset: of `draw`.
        """

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

    def check(self, target: Tensor, values: bool = True) -> Tensor:
        if target.is_floating_point():
            _expect(target.dim() == 2 and target.shape[1] == self.outputs, target, "classes",
                    f"(batch, {self.outputs}) probabilities or (batch,) class indices")  # fmt: skip
            if values:
                sums = target.float().sum(1)
                _expect(bool(((sums - 1).abs() < 0.01).all()) and bool((target >= 0).all()), target,
                        "classes", "probabilities, which add up to 1 in each row; several labels "
                        "at once need task='labels'")  # fmt: skip
            return target
        _expect(target.dim() == 1, target, "classes", "(batch,) class indices")
        if values:
            _expect_indices(target, self.outputs, "classes")
        return target.long()

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(output, target)

    def score_loss(
        self, family: Family, a: Tensor, b: Tensor, target: Tensor, offset: Tensor | None = None
    ) -> Tensor:
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
        samples: how many random tokens are scored beside those of the batch. None for all tokens,
            but for 256 where there are more than 1,000 and the family cannot score so many.
    """

    per_token = True

    def __init__(self, outputs: int, causal: bool, samples: int | None = None) -> None:
        super().__init__(outputs)
        self.causal, self.samples = causal, samples

    def check(self, target: Tensor, values: bool = True) -> Tensor:
        fits = not target.is_floating_point() and (target.dim() == 2 or not self.causal)
        _expect(fits, target, "tokens", "(batch, tokens) indices")
        if values:
            used = target[:, 1:] if self.causal else target
            kept = used[used != IGNORED]
            _expect(kept.numel() > 0, target, "tokens", f"at least one that is not {IGNORED}")
            _expect_indices(kept, self.outputs, "tokens")
        return target.long()

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

    def draw(self, target: Tensor, family: Family | None = None) -> Drawn | None:
        r"""The tokens of the batch T and m random others R of the V tokens, or None for all.

        The offsets make the normaliser an unbiased estimate of that of all tokens:

        .. math::
            \sum_{y \in T} e^{s_y} + \frac{V - |T|}{m} \sum_{y \in R} e^{s_y}.
        """
        samples = self.samples
        if samples is None:
            if self.outputs <= MANY or family is None or isinstance(family, Gaussian):
                return None
            samples = SAMPLES
        own, index = torch.unique(target, return_inverse=True)
        rest = torch.ones(self.outputs, dtype=torch.bool, device=target.device)
        rest[own] = False
        others = rest.nonzero().squeeze(1)
        random = others[torch.randperm(len(others), device=target.device)[:samples]]
        stands_for = len(others) / max(len(random), 1)
        offset = torch.zeros(len(own) + len(random), device=target.device)
        offset[len(own) :] = math.log(max(stands_for, 1))
        return Drawn(torch.cat([own, random]), index, offset)

    def linear_loss(self, rows: Tensor, layer: nn.Linear, target: Tensor) -> Tensor:
        drawn = self.draw(target)
        if drawn is not None:
            weight, bias = layer.weight[drawn.classes], layer.bias[drawn.classes]
            return linear_cross_entropy(rows, weight, bias + drawn.offset, drawn.target)
        if self.outputs > MANY:
            return linear_cross_entropy(rows, layer.weight, layer.bias, target)
        return super().linear_loss(rows, layer, target)

    def score_loss(
        self, family: Family, a: Tensor, b: Tensor, target: Tensor, offset: Tensor | None = None
    ) -> Tensor:
        if isinstance(family, Gaussian) and self.outputs > MANY:
            a, b, c = family.linear(a, b)
            return linear_cross_entropy(a, b, c if offset is None else c + offset, target)
        scores = family.scores(a, b)
        return self.loss(scores if offset is None else scores + offset, target)


class LabelTargets(Targets):
    """(B, Y) zeros and ones: several labels at once, each scored as a problem of two classes.

    The feedback has 2 Y rows: absent and present for each label.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__(outputs)
        self.inputs = 2 * outputs

    def check(self, target: Tensor, values: bool = True) -> Tensor:
        _expect(target.dim() == 2 and target.shape[1] == self.outputs, target, "labels",
                f"(batch, {self.outputs}) zeros and ones")  # fmt: skip
        if values:
            _expect(bool(((target >= 0) & (target <= 1)).all()), target, "labels",
                    "values from 0 to 1")  # fmt: skip
        return target

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(output, target.to(output.dtype))

    def score_loss(
        self, family: Family, a: Tensor, b: Tensor, target: Tensor, offset: Tensor | None = None
    ) -> Tensor:
        absent, present = family.scores(a, b).unflatten(1, (self.outputs, 2)).unbind(2)
        return self.loss(present - absent, target)

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        absent, present = b.unflatten(0, (self.outputs, 2)).unbind(1)
        share = target.to(b.dtype)
        return share @ present + (1 - share) @ absent


class RegressionTargets(Targets):
    """(B,) or (B, V) values. There are no classes: the score of a sample's own target is normalised
    over the targets of the batch. Equal targets share it."""

    def check(self, target: Tensor, values: bool = True) -> Tensor:
        fits = target.dim() in (1, 2) and target[:1].numel() == self.outputs
        _expect(fits, target, "regression", f"(batch, {self.outputs}) values")
        if values:
            _expect(bool(target.isfinite().all()), target, "regression", "finite values")
        return target

    def encode(self, target: Tensor) -> Tensor | None:
        return target.reshape(len(target), -1)

    def loss(self, output: Tensor, target: Tensor) -> Tensor:
        wide = torch.promote_types(output.dtype, torch.float32)
        return F.mse_loss(output.reshape(len(target), -1), target.reshape(len(target), -1).to(wide))

    def score_loss(
        self, family: Family, a: Tensor, b: Tensor, target: Tensor, offset: Tensor | None = None
    ) -> Tensor:
        values = target.reshape(len(target), -1)
        same = (values.unsqueeze(1) == values).all(-1).to(a.dtype)
        return F.cross_entropy(family.scores(a, b), same / same.sum(1, keepdim=True))

    def of_target(self, b: Tensor, target: Tensor) -> Tensor:
        return b


def make_targets(
    task: str, outputs: int, causal: bool = False, samples: int | None = None
) -> Targets:
    """The targets of a task.

    Raises:
        ValueError: no such task, classes of a model with one output, or samples of a task without
            tokens.
    """
    check_choice("task", task, TASKS)
    if samples is not None and task != "tokens":
        raise ValueError(f"samples is an option of targets of tokens, got task {shorten(task)}")
    if task == "classes" and outputs < 2:
        raise ValueError(
            "task 'classes' needs a model with at least 2 outputs, got 1; use task='labels' for "
            "one label, or task='regression'"
        )
    if task == "tokens":
        return TokenTargets(outputs, causal, samples)
    kinds = {"classes": ClassTargets, "labels": LabelTargets, "regression": RegressionTargets}
    return kinds[task](outputs)


def _expect(fits: bool, target: Tensor, task: str, wanted: str) -> None:
    if not fits or not target.numel():
        kind = str(target.dtype).removeprefix("torch.")
        raise ValueError(
            f"target of task {shorten(task)} must be {wanted}, got {kind} of shape "
            f"{tuple(target.shape)}"
        )


def _expect_indices(target: Tensor, outputs: int, task: str) -> None:
    low, high = (int(x) for x in target.aminmax())
    if low < 0 or high >= outputs:
        raise ValueError(
            f"target of task {shorten(task)} must be from 0 to {outputs - 1}, got {low} to {high}"
        )
