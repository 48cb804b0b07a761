"""Where packed texts start and end: several texts end to end in a batch of one.

Dimensions: B batch, T time (the tokens of all texts), S texts.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F

from .padding_egru import real_tokens
from .recording_egru import check_in_graph, is_in_graph, is_plain_graph, is_recorded

_ZEROS = "packs texts, which cannot be combined with zeros in attention_mask"
_TENSORS = ("position_ids", "cu_seq_lens_q", "cu_seq_lens_k", "seq_idx")


def packed_texts(
    batch: int,
    steps: int,
    attention_mask: torch.Tensor | None,
    cached: bool,
    position_ids: torch.Tensor | None = None,
    cu_seq_lens_q: torch.Tensor | None = None,
    cu_seq_lens_k: torch.Tensor | None = None,
    max_length_q: int | None = None,
    max_length_k: int | None = None,
    seq_idx: torch.Tensor | None = None,
) -> torch.Tensor | None:
    """The ends of packed texts, (S + 1,) int64 on the CPU with a leading 0; None where S is 1.

    In a graph of torch.compile or torch.export, they are cu_seq_lens_q itself. Its values are only
    checked when a compiled graph runs, and the other arguments are not compared with it.

    The arguments are those of transformers' DataCollatorWithFlattening. Positions that restart
    within a batch of one mean packing, unless the attention mask explains them: generate() passes
    [[0, 0, 0], [0, 1, 2]] if the first text is padded on the left. EGRU has no position embedding,
    so the first position of a text does not matter.

    Args:
        batch: B.
        steps: T.
        attention_mask: (B, T or more) or None.
        cached: whether the call reads or writes a cache, which cu_seq_lens_q alone allows.
        position_ids: (T,), (1, T) or (B, T), rising by 1 within a text.
        cu_seq_lens_q: (S + 1,), rising from 0 to T.
        cu_seq_lens_k: None or equal to cu_seq_lens_q.
        max_length_q, max_length_k: None or at least the length of the longest text.
        seq_idx: (1, T), a different number for each text.

    Raises:
        TypeError: one of the arguments that have a shape is not a tensor.
        ValueError: the arguments contradict each other, or packing is not possible.
    """
    arguments = {
        "position_ids": position_ids, "cu_seq_lens_q": cu_seq_lens_q,
        "cu_seq_lens_k": cu_seq_lens_k, "max_length_q": max_length_q,
        "max_length_k": max_length_k, "seq_idx": seq_idx,
    }  # fmt: skip
    names = [name for name, value in arguments.items() if value is not None]
    if not names:
        return None
    for name, value in arguments.items():
        if value is not None and name in _TENSORS and not isinstance(value, torch.Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(value).__name__}")
    if cu_seq_lens_q is not None and is_in_graph() and not is_plain_graph():
        return _texts_in_graph(batch, steps, attention_mask, cached, cu_seq_lens_q, cu_seq_lens_k)
    if is_recorded():
        raise ValueError(
            f"{names[0]} must be None under torch.jit.trace, torch.export and ONNX export: the "
            "graph would keep the text boundaries of the recorded call. torch.export accepts "
            "cu_seq_lens_q"
        )
    ends_by_name: dict[str, list[int]] = {}
    if cu_seq_lens_q is not None:
        ends_by_name["cu_seq_lens_q"] = _ends_of_lengths(
            steps, cu_seq_lens_q, cu_seq_lens_k, max_length_q, max_length_k
        )
    elif set(names) - {"position_ids", "seq_idx"}:
        raise ValueError(
            "cu_seq_lens_k, max_length_q and max_length_k need cu_seq_lens_q, got None"
        )
    if seq_idx is not None:
        ends_by_name["seq_idx"] = _ends_of_numbers(batch, steps, seq_idx)
    if position_ids is not None:
        ends = _ends_of_positions(batch, steps, position_ids, attention_mask)
        if len(ends) > 2:  # positions that only rise do not mean packing
            ends_by_name["position_ids"] = ends
    if not ends_by_name:
        return None
    (name, ends), *others = ends_by_name.items()
    for other, other_ends in others:
        if ends != other_ends:
            raise ValueError(
                f"{name} and {other} disagree: texts end at {_shorten(ends[1:])} and "
                f"{_shorten(other_ends[1:])}"
            )
    if len(ends) <= 2:
        return None
    _check_alone(name, f"{len(ends) - 1} ", batch, cached and name != "cu_seq_lens_q")
    if attention_mask is not None and not bool(real_tokens(attention_mask, batch, steps).all()):
        raise ValueError(f"{name} {_ZEROS}")
    return torch.tensor(ends)


def _texts_in_graph(
    batch: int,
    steps: int,
    attention_mask: torch.Tensor | None,
    cached: bool,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor | None,
) -> torch.Tensor:
    _check_integers(cu_seq_lens_q)
    _check_alone("cu_seq_lens_q", "", batch, cached)
    if cu_seq_lens_k is not None:
        same = cu_seq_lens_k.shape == cu_seq_lens_q.shape
        equal = torch.all(cu_seq_lens_k == cu_seq_lens_q) if same else torch.tensor(False)
        check_in_graph(equal, "cu_seq_lens_k must equal cu_seq_lens_q")
    rises = (cu_seq_lens_q.diff() > 0).all() & (cu_seq_lens_q[0] == 0)
    message = "cu_seq_lens_q must rise from 0 to the number of tokens"
    check_in_graph(rises & (cu_seq_lens_q[-1] == steps), message)
    if attention_mask is not None:
        check_in_graph(real_tokens(attention_mask, batch, steps).all(), _ZEROS)
    return cu_seq_lens_q


def _check_alone(name: str, texts: str, batch: int, cached: bool) -> None:
    if batch != 1:
        raise ValueError(f"{name} packs texts, which needs batch size 1, got {batch}")
    if cached:
        raise ValueError(
            f"{name} packs {texts}texts, which cannot be combined with a cache: pass "
            "use_cache=False and no past_key_values, or outside of a graph cu_seq_lens_q, with "
            "which the cache has a state of each text"
        )


def _check_integers(cu_seq_lens_q: torch.Tensor) -> None:
    if cu_seq_lens_q.dim() != 1 or cu_seq_lens_q.is_floating_point():
        raise ValueError(
            "cu_seq_lens_q must be a 1-D integer tensor, got "
            f"{cu_seq_lens_q.dtype} of shape {tuple(cu_seq_lens_q.shape)}"
        )


def longest_of(texts: torch.Tensor | None, steps: int) -> int:
    """The steps of the longest text; all T without packing."""
    return steps if texts is None else int(texts.diff().max())


def without_first(labels: torch.Tensor, texts: torch.Tensor, ignored: int) -> torch.Tensor:
    """Labels (1, T) without the first token of each packed text, which no token predicts."""
    labels = labels.clone()
    labels[:, texts[:-1]] = ignored
    return labels


def _ends_of_lengths(
    steps: int,
    cu_seq_lens_q: torch.Tensor,
    cu_seq_lens_k: torch.Tensor | None,
    max_length_q: int | None,
    max_length_k: int | None,
) -> list[int]:
    _check_integers(cu_seq_lens_q)
    ends = cu_seq_lens_q.tolist()
    rises = all(a < b for a, b in pairwise(ends))
    if not ends or ends[0] != 0 or ends[-1] != steps or not rises:
        raise ValueError(
            f"cu_seq_lens_q must rise from 0 to {steps} (tokens), got {_shorten(ends)}"
        )
    if cu_seq_lens_k is not None and cu_seq_lens_k.tolist() != ends:
        raise ValueError(
            "cu_seq_lens_k must equal cu_seq_lens_q, got "
            f"{_shorten(cu_seq_lens_k.tolist())} and {_shorten(ends)}"
        )
    longest = max((b - a for a, b in pairwise(ends)), default=0)
    for name, length in (("max_length_q", max_length_q), ("max_length_k", max_length_k)):
        if length is not None and int(length) < longest:
            raise ValueError(
                f"{name} must be at least {longest} (the longest text), got {int(length)}"
            )
    return ends


def _ends_of_numbers(batch: int, steps: int, seq_idx: torch.Tensor) -> list[int]:
    if tuple(seq_idx.shape) not in ((steps,), (1, steps), (batch, steps)):
        raise ValueError(f"seq_idx must have shape (1, {steps}), got {tuple(seq_idx.shape)}")
    numbers = seq_idx.reshape(-1, steps).cpu()
    if bool((numbers < 0).any()):
        raise ValueError("seq_idx must not be negative; mark padding in attention_mask")
    return _split_where(numbers.diff(dim=1) != 0, steps)


def _ends_of_positions(
    batch: int, steps: int, position_ids: torch.Tensor, attention_mask: torch.Tensor | None
) -> list[int]:
    if tuple(position_ids.shape) not in ((steps,), (1, steps), (batch, steps)):
        raise ValueError(
            f"position_ids must have shape ({batch}, {steps}), got {tuple(position_ids.shape)}"
        )
    if steps < 2:
        return [0, steps]
    positions = position_ids.reshape(-1, steps).cpu()
    if attention_mask is not None:
        real = real_tokens(attention_mask, batch, steps).cpu()
        if not bool(real.all()):
            _check_masked(positions.expand(batch, steps), real)
            return [0, steps]
    rise = positions.diff(dim=1)
    if bool((rise > 1).any()):
        raise ValueError(
            "position_ids must rise by 1 within a text, got a gap in "
            f"{_shorten(positions[(rise > 1).any(1)][0].tolist())}"
        )
    ends = _split_where(rise != 1, steps)
    starts = positions[0, ends[:-1]].tolist()
    if batch == 1 and len(set(starts)) > 1:
        raise ValueError(
            "position_ids of packed texts must all start at the same number, got starts at "
            f"{_shorten(starts)}"
        )
    return ends


def _check_masked(positions: torch.Tensor, real: torch.Tensor) -> None:
    """Check that positions rise by 1 over real tokens, whether or not padding counts."""
    row, column = real.nonzero(as_tuple=True)
    rise = positions[real].diff()
    wrong = (row.diff() == 0) & (rise != 1) & (rise != column.diff())
    if bool(wrong.any()):
        raise ValueError(
            "position_ids must rise by 1 from one real token to the next where attention_mask has "
            f"zeros (texts cannot be packed there), got {_shorten(positions[real].tolist())}"
        )


def _split_where(changes: torch.Tensor, steps: int) -> list[int]:
    """Ends of texts; `changes` (B, T - 1) is True where a token, from the second on, starts one."""
    starts = F.pad(changes.any(0), (1, 0)).nonzero().flatten().tolist()
    return [0, *starts, steps]


def _shorten(numbers: list[int]) -> str:
    first = ", ".join(map(str, numbers[:8]))
    return f"[{first}, ...]" if len(numbers) > 8 else f"[{first}]"


__all__ = ["longest_of", "packed_texts", "without_first"]
