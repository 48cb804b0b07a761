"""Padding taken out before the recurrent layers and put back after them.

Padding on any side then leaves no trace in the state. Dimensions: B batch, T time, F features,
N real tokens of the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .recording_egru import is_recorded


class Whole:
    """No padding; `cu_seqlens` says where packed texts start and end, if there are several."""

    def __init__(self, cu_seqlens: torch.Tensor | None = None):
        self.cu_seqlens = cu_seqlens

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, F) as the layers want it."""
        return x

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        """What the layers return -> (B, T, F)."""
        return x

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over real tokens of what the layers return."""
        return x.mean() if x.numel() else x.sum()


class EndToEnd(Whole):
    """The real tokens of all rows laid end to end, (1, N, F)."""

    def __init__(self, real: torch.Tensor):
        super().__init__(F.pad(real.sum(1).cumsum(0), (1, 0)))
        self.real = real

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        return x[self.real][None]

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        full = x.new_zeros(*self.real.shape, x.shape[-1])
        full[self.real] = x[0]
        return full


class RealFirst(Whole):
    """The real tokens of each row moved to its start, (B, T, F).

    For a graph that is recorded: no shape depends on the mask, so that the graph holds for
    another one. The state after the last step is of no use where padding follows.
    """

    def __init__(self, real: torch.Tensor):
        super().__init__()
        self.real = real[..., None]
        number = real.long()
        padding = 1 - number
        place = torch.where(real, number.cumsum(1), number.sum(1, True) + padding.cumsum(1)) - 1
        self.place = place[..., None]

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(x).scatter(1, self.place.expand_as(x), x)

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        return x.gather(1, self.place.expand_as(x)) * self.real

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        return self.unpack(x).sum() / (self.real.sum() * x.shape[-1])


def layout_of(
    attention_mask: torch.Tensor | None, batch: int, steps: int, texts: torch.Tensor | None = None
) -> Whole:
    """How the layers get their input.

    Args:
        attention_mask: (B, T or more), its last T columns count; 0 marks padding.
        batch: B.
        steps: T.
        texts: the ends of packed texts, which have no padding.

    Raises:
        ValueError: a mask of another shape.
    """
    if attention_mask is None or texts is not None:
        return Whole(texts)
    real = real_tokens(attention_mask, batch, steps)
    if is_recorded():
        return RealFirst(real)
    return Whole() if bool(real.all()) else EndToEnd(real)


def real_tokens(attention_mask: torch.Tensor, batch: int, steps: int) -> torch.Tensor:
    """The (B, T) mask of real tokens.

    Raises:
        ValueError: a mask of another shape.
    """
    shape = tuple(attention_mask.shape)
    if len(shape) != 2 or shape[0] != batch or shape[1] < steps:
        raise ValueError(f"attention_mask must have shape ({batch}, {steps} or more), got {shape}")
    return attention_mask[:, attention_mask.shape[1] - steps :] != 0


def mask_of_ids(input_ids: torch.Tensor, pad_token_id: int) -> torch.Tensor:
    """Mask of token ids (B, T) without the padding at the start and the end of each row.

    A pad token between others is text, and so is the first token of a row of pad tokens alone.
    """
    text = input_ids != pad_token_id
    first = torch.arange(input_ids.shape[1], device=input_ids.device) == 0
    text = (text | (first & ~text.any(1, keepdim=True))).long()
    return (text.cumsum(1) > 0) & (text.flip(1).cumsum(1).flip(1) > 0)


__all__ = ["layout_of", "mask_of_ids", "real_tokens"]
