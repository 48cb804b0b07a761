"""Scores of a segmentation: intersection over union, by class and by object."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def iou_scores(confusion: Tensor, names: Sequence[str]) -> dict[str, Any]:
    r"""The intersection over union of each class, from (C, C) counts of true and predicted classes.

    .. math:: IoU_c = \frac{TP_c}{TP_c + FP_c + FN_c}

    Returns:
        class_iou (name to value, None for a class that occurs neither truly nor as a prediction)
        and mean_iou, over the others.
    """
    found = confusion.diag().double()
    union = confusion.sum(0) + confusion.sum(1) - found
    values = found / union  # NaN without such points
    return {
        "class_iou": {
            name: None if value.isnan() else float(value)
            for name, value in zip(names, values, strict=True)
        },
        "mean_iou": float(values.nanmean()),
    }


def object_iou(scores: Tensor, labels: Tensor, parts: Sequence[int]) -> float:
    """The mean IoU of the parts of one object, ShapeNet-part's protocol.

    Only the parts of the object's category are predicted; a part that is neither in the object nor
    predicted counts as 1.

    Args:
        scores: (N, C) of the points.
        labels: (N,) parts.
        parts: the parts of its category.
    """
    own = torch.tensor(list(parts), device=scores.device)
    predicted = own[scores[:, own].argmax(1)]
    truly, guessed = labels[:, None] == own, predicted[:, None] == own
    union = (truly | guessed).sum(0).double()
    both = (truly & guessed).sum(0).double()
    return float(torch.where(union > 0, both / union.clamp(min=1), 1.0).mean())
