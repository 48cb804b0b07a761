"""Cross-entropy of a large vocabulary, a block of rows at a time, without keeping the logits."""

from __future__ import annotations

import torch
import torch.nn.functional as F

_ROWS = 256  # logits of one block stay in the processor's cache


class _LinearCrossEntropy(torch.autograd.Function):
    """Sum of -log softmax(hidden weight^T + bias)[target]; gradients are made on the way."""

    @staticmethod
    def forward(ctx, hidden, weight, bias, targets):
        total = hidden.new_zeros((), dtype=torch.float32)
        d_hidden = torch.empty_like(hidden)
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(bias)
        block = hidden.new_empty(min(_ROWS, len(hidden)), len(weight))
        for rows in torch.arange(len(hidden)).split(_ROWS):
            rows = slice(int(rows[0]), int(rows[-1]) + 1)
            h, target = hidden[rows], targets[rows, None]
            logits = torch.addmm(bias, h, weight.t(), out=block[: len(h)])
            normaliser = logits.float().logsumexp(1, keepdim=True)
            total += (normaliser - logits.gather(1, target)).sum()
            error = logits.sub_(normaliser).exp_()
            error.scatter_add_(1, target, error.new_full((len(h), 1), -1.0))
            torch.mm(error, weight, out=d_hidden[rows])
            d_weight.addmm_(error.t(), h)
            d_bias += error.sum(0)
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return total

    @staticmethod
    def backward(ctx, grad):
        return *(grad * saved for saved in ctx.saved_tensors), None


def chunked_cross_entropy(
    hidden: torch.Tensor,  # (B, T, E)
    weight: torch.Tensor,  # (V, E)
    bias: torch.Tensor,  # (V,)
    labels: torch.Tensor,  # (B, T)
    num_items_in_batch: torch.Tensor | int | None = None,
    ignore_index: int = -100,
    shift_labels: torch.Tensor | None = None,
    **kwargs,
) -> torch.Tensor:
    """The loss of transformers' ForCausalLMLoss, in O(256 V) instead of O(B T V) memory.

    The sum over tokens is divided by `num_items_in_batch`, or by the number of labels.
    """
    if shift_labels is None:
        shift_labels = F.pad(labels, (0, 1), value=ignore_index)[..., 1:]
    targets = shift_labels.reshape(-1).to(hidden.device)
    real = targets != ignore_index
    rows = hidden.reshape(-1, hidden.shape[-1])
    if not bool(real.all()):
        rows, targets = rows[real], targets[real]
    items = len(targets) if num_items_in_batch is None else num_items_in_batch
    return _LinearCrossEntropy.apply(rows, weight, bias, targets) / items
