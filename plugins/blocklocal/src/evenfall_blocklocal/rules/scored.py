"""The rules of block-local learning: a head gives natural parameters, the twin network feedback."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..families import FAMILIES
from ..features import Features, FeatureShape
from ..feedback import Feedback
from ..heads import ParameterHead
from ..targets import MANY, ClassTargets
from .base import Rule, Setting


class _Messages(Rule):
    """Heads and feedback of every local block."""

    reads_target = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options, targets = setting.options, setting.targets
        many = targets.outputs > MANY and isinstance(targets, ClassTargets)
        self.family = FAMILIES[options.family or ("gaussian" if many else "bernoulli")]()
        self.heads = nn.ModuleList(
            ParameterHead(
                shape, options.latent, options.hidden, options.head_depth, options.grid,
                targets.per_token,
            )
            for shape in setting.shapes
        )  # fmt: skip
        self.shapes: list[FeatureShape] = list(setting.shapes)
        widths = [head.latent for head in self.heads]
        for width in widths:
            self.family.log_partition(torch.zeros(width))  # refuses one that does not fit
        self.feedback = Feedback(targets.inputs, widths, options.feedback) if widths else None
        self._messages: dict[int, Tensor] = {}
        self._encoded: Tensor | None = None

    def begin(self, target: Tensor) -> None:
        self._messages = {}
        self._encoded = self.targets.encode(target)

    def end(self) -> None:
        self._messages, self._encoded = {}, None

    def parts(self, index: int) -> list[nn.Module]:
        return [self.heads[index], self.feedback.links[index]] if self.feedback is not None else []

    def message(self, index: int, classes: Tensor | None = None) -> Tensor:
        """The feedback b (Y, D) of local block `index` in this step, or that of some classes."""
        assert self.feedback is not None
        if classes is not None:
            last = self.feedback.is_first(index)
            behind = None if last else self.message(index + 1, classes)
            return self.feedback(None, index, behind, classes)
        if index not in self._messages:
            behind = None if self.feedback.is_first(index) else self.message(index + 1)
            self._messages[index] = self.feedback(self._encoded, index, behind)
        return self._messages[index]


class Bll(_Messages):
    r"""Class-normalised block-local learning, "bll".

    .. math::
        L_k = -\log \frac{\exp s_y}{\sum_{y'} \exp s_{y'}} + \lambda J(a_k, b_{k,y})

    with the scores s of the family, the natural parameters :math:`a_k` that the head of block k
    reads from its output, and the feedback :math:`b_{k,y}` of class y. :math:`\lambda` is
    `agreement`.

    Raises:
        ValueError: `bootstrap` with targets of tokens, or with features that are rows of graphs or
            begin with a class token.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if not self.options.bootstrap:
            return
        if self.targets.per_token:
            raise ValueError("bootstrap supports one target a sample, not one a token")
        for shape in self.shapes:
            if shape.layout == "graph" or shape.prefix:
                kind = "rows of graphs" if shape.layout == "graph" else "a class token"
                raise ValueError(f"bootstrap does not support features with {kind}")

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor:
        a, chosen = self.targets.rows(self.heads[index](features), target)
        drawn = self.targets.draw(chosen, self.family)
        if drawn is None:
            b, offset = self.message(index), None
        else:
            b, chosen, offset = self.message(index, drawn.classes), drawn.target, drawn.offset
        loss = self.targets.score_loss(self.family, a, b, chosen, offset)
        if self.options.agreement:
            own = self.targets.of_target(b, chosen)
            loss = loss + self.options.agreement * self.family.agreement(a, own).mean()
        return loss

    def pass_on(self, index: int, values: Tensor, target: Tensor) -> Tensor:
        m = self.options.bootstrap
        if not m:
            return values
        own = self.targets.of_target(self.message(index), target).detach()
        layout = self.shapes[index].layout
        if layout in ("nchw", "ncl", "ncx"):
            own = own.reshape(*own.shape, *[1] * (values.dim() - 2))
        elif layout in ("nlc", "nhwc"):
            own = own.reshape(len(own), *[1] * (values.dim() - 2), -1)
        return values + m * own.to(values.dtype)


class BllKl(_Messages):
    r"""The plain bound, "bll-kl": :math:`L_k = J(a_k, b_{k,y})` of the target's feedback alone.

    Without the normalisation over classes, both messages can agree by being the same for every
    class. A block whose loss is zero for that reason learns nothing; this rule is here to show it.
    """

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor:
        a, chosen = self.targets.rows(self.heads[index](features), target)
        own = self.targets.of_target(self.message(index), chosen)
        return self.family.agreement(a, own).mean()
