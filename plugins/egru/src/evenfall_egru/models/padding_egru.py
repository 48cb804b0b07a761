"""Remove padding before the recurrent layers and put it back after them.

Padding then does not change the state. Dimensions: B batch, T time, F features, N real tokens of
the whole batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from .recording_egru import check_in_graph, is_in_graph

_VALUES = "attention_mask must contain 0 (padding) and 1 only"


class Whole:
    """No padding; `cu_seqlens` has the ends of packed texts, with a leading 0, or is None."""

    ends_with_text = True  # whether the layers' last state is that after the last real token

    def __init__(self, cu_seqlens: torch.Tensor | None = None):
        self.cu_seqlens = cu_seqlens
        self.packs_texts = cu_seqlens is not None

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        """(B, T, F) -> the input of the layers."""
        return x

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        """The output of the layers -> (B, T, F)."""
        return x

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """The mean over real tokens of an output of the layers."""
        return x.mean() if x.numel() else x.sum()

    def mean_change(self, x: torch.Tensor) -> torch.Tensor:
        """The mean squared change of an output of the layers from a real token to the next one of
        its text; 0 if no text has a next one."""
        change = x.diff(dim=1).square()
        if self.cu_seqlens is not None:
            first = self.cu_seqlens[1:-1]
            inside = torch.ones(x.shape[1], dtype=torch.bool, device=x.device)
            inside[first[first < x.shape[1]]] = False
            change = change[:, inside[1:]]
        return change.mean() if change.numel() else change.sum()

    def states(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """States in the layers' order -> (B, T, F), the state after each token.

        Padding keeps the state, which is `before`, (B, F), where no real token came yet.
        """
        return x


class EndToEnd(Whole):
    """The real tokens of all rows end to end, (1, N, F)."""

    def __init__(self, real: torch.Tensor):
        ends = F.pad(real.sum(1).cumsum(0), (1, 0))
        super().__init__(ends)
        self.real, self.first, self.packs_texts = real, ends[:-1], False

    def pack(self, x: torch.Tensor) -> torch.Tensor:
        return x[self.real][None]

    def unpack(self, x: torch.Tensor) -> torch.Tensor:
        full = x.new_zeros(*self.real.shape, x.shape[-1])
        full[self.real] = x[0]
        return full

    def states(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        number = self.real.cumsum(1)
        rows = torch.cat([before.new_zeros(1, before.shape[-1]), x[0]])
        after = rows[self.first[:, None] + number]
        return torch.where(number[..., None] > 0, after, before[:, None])


class RealFirst(Whole):
    """The real tokens of each row at its start, (B, T, F).

    For graphs: no shape depends on the mask, so the graph is valid for other masks. The state after
    the last step is meaningless if padding follows.
    """

    ends_with_text = False

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
        return self.unpack(x).sum() / (self.real.sum() * x.shape[-1]).clamp(min=1)

    def mean_change(self, x: torch.Tensor) -> torch.Tensor:
        steps = torch.arange(1, x.shape[1], device=x.device)
        follows = steps < self.real.sum(1)  # (B, T - 1)
        total = (x.diff(dim=1).square() * follows[..., None]).sum()
        return total / (follows.sum() * x.shape[-1]).clamp(min=1)

    def states(self, x: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        number = self.real.long().cumsum(1)
        after = x.gather(1, (number - 1).clamp_min(0).expand_as(x))
        return torch.where(number > 0, after, before[:, None])


def layout_of(
    attention_mask: torch.Tensor | None, batch: int, steps: int, texts: torch.Tensor | None = None
) -> Whole:
    """Choose how the layers get their input.

    Args:
        attention_mask: (B, T or more), of which the last T columns are used; 0 marks padding, 1 a
            real token.
        batch: B.
        steps: T.
        texts: the ends of packed texts, or None; they exclude padding.

    Raises:
        ValueError: a mask of another shape, or values other than 0 and 1, such as the numbers of
            packed texts (RuntimeError in a compiled graph, not checked in a recorded one).
    """
    if attention_mask is None or texts is not None:
        return Whole(texts)
    real = real_tokens(attention_mask, batch, steps)
    one = attention_mask[:, attention_mask.shape[1] - steps :] == 1
    if is_in_graph():
        check_in_graph((real == one).all(), _VALUES)
        return RealFirst(real)
    if bool(one.all()):
        return Whole()
    if not torch.equal(real, one):
        value = attention_mask[:, attention_mask.shape[1] - steps :][real != one][0].item()
        raise ValueError(
            f"{_VALUES}, got {value}; mark packed texts with position_ids or cu_seq_lens_q"
        )
    return EndToEnd(real)


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
    """Mask of token ids (B, T) that excludes pad tokens at the start and the end of each row.

    A pad token between others is text. In a row of only pad tokens, the first is text.
    """
    text = input_ids != pad_token_id
    first = torch.arange(input_ids.shape[1], device=input_ids.device) == 0
    text = (text | (first & ~text.any(1, keepdim=True))).long()
    return (text.cumsum(1) > 0) & (text.flip(1).cumsum(1).flip(1) > 0)


__all__ = ["Whole", "layout_of", "mask_of_ids", "real_tokens"]
