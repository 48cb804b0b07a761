"""Cross-entropy over a large vocabulary, a block of rows at a time, without storing the logits."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from .recording_egru import is_in_graph

_ROWS = 256  # the logits of one block fit in the processor's cache


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden weight^T + bias)[target]; with `wants_gradients`, forward also
    computes the gradients."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor,
        targets: torch.Tensor,
        wants_gradients: bool,
    ) -> torch.Tensor:
        device = hidden.device.type
        kind = torch.promote_types(hidden.dtype, torch.float32)  # of sums over blocks
        total = hidden.new_zeros((), dtype=kind)
        if wants_gradients:
            d_hidden = torch.empty_like(hidden)
            d_weight, d_bias = (torch.zeros_like(one, dtype=kind) for one in (weight, bias))
        low = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None
        low = hidden.dtype if low is None else low
        weight_low = weight.to(low)
        for first in range(0, len(hidden), _ROWS):
            rows = slice(first, first + _ROWS)
            h, target = hidden[rows], targets[rows, None]
            h_low = h.to(low)
            logits = torch.mm(h_low, weight_low.t()).to(kind).add_(bias)
            normaliser = logits.logsumexp(1, keepdim=True)
            total += (normaliser - logits.gather(1, target)).sum()
            if not wants_gradients:
                continue
            error = logits.sub_(normaliser).exp_()
            error.scatter_add_(1, target, error.new_full((len(h), 1), -1.0))
            d_bias += error.sum(0)
            error_low = error.to(low)
            d_hidden[rows] = torch.mm(error_low, weight_low)
            d_weight += torch.mm(error_low.t(), h_low)
        if wants_gradients:
            ctx.save_for_backward(d_hidden, d_weight.to(weight.dtype), d_bias.to(bias.dtype))
        return total

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if torch.is_grad_enabled():  # create_graph=True
            raise RuntimeError(
                "the loss with skip_logits=True has first derivatives only; use skip_logits=False"
            )
        return *(grad * saved for saved in ctx.saved_tensors), None, None


def chunked_cross_entropy(
    hidden: torch.Tensor,  # (B, T, E)
    weight: torch.Tensor,  # (V, E)
    bias: torch.Tensor,  # (V,)
    labels: torch.Tensor,  # (B, T)
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor:
    """The loss of transformers' ForCausalLMLoss in O(256 V) instead of O(B T V) memory.

    The sum over tokens is divided by `num_items_in_batch`, or else by the number of labels. A graph
    of torch.compile or torch.export stores the logits.

    Raises:
        RuntimeError: a backward pass with create_graph=True.
        ValueError: labels, or shift_labels, are not (B, T).
    """
    name, given = ("labels", labels) if shift_labels is None else ("shift_labels", shift_labels)
    if given.shape != hidden.shape[:-1]:
        want, got = tuple(hidden.shape[:-1]), tuple(given.shape)
        raise ValueError(f"{name} must have shape {want}, got {got}")
    if shift_labels is None:
        shift_labels = F.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    targets = shift_labels.reshape(-1).to(hidden.device)
    real = targets != ignore_index
    rows = hidden.reshape(-1, hidden.shape[-1])
    if is_in_graph():
        logits = F.linear(rows, weight, bias)
        logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
        total = F.cross_entropy(logits, targets, ignore_index=ignore_index, reduction="sum")
        return total / (real.sum() if num_items_in_batch is None else num_items_in_batch)
    if not bool(real.all()):
        rows, targets = rows[real], targets[real]
    items = len(targets) if num_items_in_batch is None else num_items_in_batch
    wants_gradients = torch.is_grad_enabled()
    return _LinearCrossEntropy.apply(rows, weight, bias, targets, wants_gradients) / items


def share_of_batch(
    labels: torch.Tensor,  # (B, T)
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: torch.Tensor | None = None,
    **kwargs: Any,
) -> torch.Tensor | float:
    """The share of a batch's tokens in this call; other calls or ranks have the rest.

    Penalties times this add up to one penalty per batch, as the cross-entropy does.
    """
    if num_items_in_batch is None:
        return 1.0
    targets = labels[..., 1:] if shift_labels is None else shift_labels
    return (targets != ignore_index).sum() / num_items_in_batch
