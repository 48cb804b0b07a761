"""causal_conv1d: the short depthwise convolution of a Mamba block, with state and resets."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from ...common.dispatch import choose
from ...common.sequences import check_cu_seqlens
from .op import causal_conv1d_op

__all__ = ["causal_conv1d"]


def causal_conv1d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    *,
    initial_state: Tensor | None = None,
    return_final_state: bool = False,
    activation: Literal["silu"] | None = None,
    cu_seqlens: Tensor | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Convolve each channel with its own filter, looking back only.

        out[d, t] = f(bias[d] + sum_w weight[d, w] x[d, t - W + 1 + w])

    where f is silu or nothing, and x before the first step of a sequence is the initial state,
    zero by default. The final state is the last W - 1 inputs of each sequence, initial state
    included: a sequence in pieces, each given the final state before it, equals the whole. Sums
    are kept in float32, in float64 where x is. All inputs but `cu_seqlens` have gradients, and so
    has the final state.

    Args:
        x: (batch, dim, length) floating point.
        weight: (dim, W), W >= 1.
        bias: (dim,).
        initial_state: (sequences, dim, W - 1), the oldest input first.
        return_final_state: whether to return (out, final state).
        activation: "silu" or None.
        cu_seqlens: (sequences + 1,) integers: x is (1, dim, length) and holds sequences side by
            side, of which the k-th is cu_seqlens[k] <= t < cu_seqlens[k + 1]. Nothing leaks from
            one into the next. Its values are checked in eager mode on the CPU, where looking
            costs no synchronisation.

    Returns:
        (batch, dim, length) in the dtype of x; with `return_final_state` also
        (sequences, dim, W - 1) in the dtype of x.

    Raises:
        TypeError: an argument is not a tensor of the right kind.
        ValueError: shapes or devices do not match, `activation` is unknown, or `cu_seqlens` does
            not start at 0, falls, or does not end at length.
        BackendError: torch.func's transforms or forward mode with a backend other than
            "reference", which alone has them, as it has second derivatives.
    """
    _check(x, weight, bias, initial_state, activation)
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x, "x")
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    wanted = (sequences, x.shape[1], weight.shape[1] - 1)
    if initial_state is not None and tuple(initial_state.shape) != wanted:
        raise ValueError(
            f"initial_state must have shape {wanted}, got {tuple(initial_state.shape)}"
        )
    arguments = x, weight, bias, initial_state, cu_seqlens, activation == "silu"
    choice = choose("causal_conv1d", [a for a in arguments if isinstance(a, Tensor)])
    if choice.module is None:
        out, final_state = causal_conv1d_op(*arguments, choice.backend)
    else:
        out, final_state = choice.module.forward(*arguments)
    return (out, final_state) if return_final_state else out


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    initial_state: Tensor | None,
    activation: str | None,
) -> None:
    named = {"x": x, "weight": weight, "bias": bias, "initial_state": initial_state}
    for name, tensor in named.items():
        if tensor is None and name in ("bias", "initial_state"):
            continue
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
        if not tensor.is_floating_point():
            raise TypeError(f"{name} must be floating point, got {tensor.dtype}")
        if tensor.device != x.device:
            raise ValueError(f"{name} is on {tensor.device}, but x is on {x.device}")
    if x.dim() != 3:
        raise ValueError(f"x must have shape (batch, dim, length), got {tuple(x.shape)}")
    dim = x.shape[1]
    if weight.dim() != 2 or weight.shape[0] != dim or weight.shape[1] < 1:
        raise ValueError(f"weight must have shape ({dim}, W >= 1), got {tuple(weight.shape)}")
    if bias is not None and tuple(bias.shape) != (dim,):
        raise ValueError(f"bias must have shape ({dim},), got {tuple(bias.shape)}")
    if activation not in (None, "silu"):
        raise ValueError(f"activation must be 'silu' or None, got {activation!r}")
