"""Whether a language model predicts the next token or the one in place, as its own loss says."""

from __future__ import annotations

import inspect
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .outputs import main_tensor
from .splitting.inputs import Call, base_model
from .splitting.trial import unchanged

_NEAR = 1e-2


@torch.no_grad()
def is_causal(model: nn.Module, call: Call) -> bool:
    """Whether the output at token t is compared with the label of token t + 1.

    The model is called once with random labels, and its loss compared with the cross-entropies of
    labels as they are and shifted by one. Where it takes no labels, or has another loss, the name
    of its class decides.

    Args:
        model: whose output has logits (B, L, Y).
        call: arguments of a small call.
    """
    model = base_model(model)
    name = type(model).__name__
    named = "CausalLM" in name or "LMHead" in name
    if "labels" not in inspect.signature(model.forward).parameters:
        return named
    with unchanged(model):
        model.eval()
        try:
            logits = main_tensor(model(*call[0], **call[1]))
            if logits.dim() != 3 or logits.shape[1] < 2 or logits.device.type == "meta":
                return named
            generator = torch.Generator().manual_seed(0)
            labels = torch.randint(logits.shape[-1], logits.shape[:2], generator=generator)
            labels = labels.to(logits.device)
            output = model(*call[0], **(call[1] | {"labels": labels}))
        except (TypeError, ValueError, LookupError, RuntimeError):
            return named  # labels of another kind
    loss: Any = getattr(output, "loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        return named
    logits = main_tensor(output).float()
    shifted = _distance(loss, logits[:, :-1], labels[:, 1:])
    in_place = _distance(loss, logits, labels)
    return named if min(shifted, in_place) > _NEAR else shifted < in_place


def _distance(loss: Tensor, logits: Tensor, labels: Tensor) -> float:
    return abs(float(loss) - float(F.cross_entropy(logits.flatten(0, 1), labels.flatten())))
