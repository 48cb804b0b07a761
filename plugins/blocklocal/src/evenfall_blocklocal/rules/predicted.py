"""Rules whose blocks predict the target themselves: local cross-entropy, and Nøkland's predsim."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from ..features import Features
from ..heads import ParameterHead
from .base import Rule, Setting


class LocalPrediction(Rule):
    """ "local-ce": the same head as "bll", ReLU, and a linear layer to the classes.

    The loss is that of the last block: cross-entropy, or what the task has in its place.
    """

    reads_target = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        options, targets = setting.options, setting.targets
        self.heads = nn.ModuleList(
            ParameterHead(
                shape, options.latent, options.hidden, options.head_depth, options.grid,
                targets.per_token,
            )
            for shape in setting.shapes
        )  # fmt: skip
        self.classifiers = nn.ModuleList(
            _classifier(head.latent, targets.outputs, options.head_depth) for head in self.heads
        )

    def parts(self, index: int) -> list[nn.Module]:
        return [self.heads[index], self.classifiers[index]]

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor:
        rows, chosen = self.targets.rows(self.heads[index](features), target)
        *before, last = self.classifiers[index]
        for layer in before:
            rows = layer(rows)
        return self.targets.linear_loss(rows, last, chosen)


class PredSim(LocalPrediction):
    r""" "predsim": prediction and similarity.

    .. math::
        L_k = (1 - \beta) L_{pred} + \beta \, \| S(h_k) - S(y) \|_F^2 / N^2

    where S is the matrix of cosine similarities of the N centred rows, of the head's output and of
    the encoded targets. Targets of one value have no similarity, as a centred one is zero.

    Raises:
        ValueError: the model has one output.

    Source: Nøkland and Eidnes, "Training neural networks with local error signals", ICML 2019.
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        if self.targets.outputs < 2:
            raise ValueError("rule 'predsim' needs a model with at least 2 outputs, got 1")

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor:
        rows, chosen = self.targets.rows(self.heads[index](features), target)
        prediction = self.targets.loss(self.classifiers[index](rows), chosen)
        wanted = chosen
        if not chosen.is_floating_point():
            wanted = chosen if chosen.dim() > 1 else F.one_hot(chosen, self.targets.outputs)
        wanted = wanted.reshape(len(wanted), -1).to(rows.dtype)
        similarity = F.mse_loss(_similarities(rows), _similarities(wanted))
        beta = self.options.similarity
        return (1 - beta) * prediction + beta * similarity


def _classifier(width: int, outputs: int, depth: int) -> nn.Sequential:
    before = [nn.ReLU()] if depth == 2 else []
    return nn.Sequential(*before, nn.Linear(width, outputs))


def _similarities(rows: Tensor) -> Tensor:
    centred = F.normalize(rows - rows.mean(1, keepdim=True), dim=1)
    return centred @ centred.t()
