"""`selective_state_update` of `mamba_ssm`, with heads and state indices as in Mamba-2.

B batch   H heads   D channels of a head   N states   G groups
"""

from __future__ import annotations

from torch import Tensor

from evenfall_kernels import selective_state_update as one_token
from evenfall_kernels.common.slots import read_slots

_WITHOUT_HEADS = (3, 2, 2, 2, 2, 2, 1, 2, 1)  # number of dimensions, state to dt_bias


def selective_state_update(
    state: Tensor,
    x: Tensor,
    dt: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    dt_bias: Tensor | None = None,
    dt_softplus: bool = False,
    state_batch_indices: Tensor | None = None,
) -> Tensor:
    """Advance by one token; changes the state in place.

    With a single head, each argument may have or omit the dimension of heads, independently of the
    others.

    Args:
        state: (B, D, N), a single head, or (B, H, D, N); may have more than B rows with
            `state_batch_indices`.
        x: (B, D) or (B, H, D).
        dt: as x.
        A: (D, N) or (H, D, N).
        B: (B, N) or (B, G, N), where G divides H.
        C: as B.
        D: (D,) or (H, D).
        z: as x.
        dt_bias: as D.
        dt_softplus: whether dt goes through softplus.
        state_batch_indices: (B,) integers, the row of state for each sequence; a negative index
            marks padding, whose output is zero.

    Returns:
        (B, H, D) for a state with heads, else (B, D).

    Raises:
        TypeError: a tensor is not floating point, or indices are not integers.
        ValueError: shapes or devices do not match, or an index is too large.
    """
    tensors = state, x, dt, A, B, C, D, z, dt_bias
    dimensions = zip(tensors, _WITHOUT_HEADS, strict=True)
    if state_batch_indices is None and all(getattr(t, "ndim", n) == n for t, n in dimensions):
        return one_token(*tensors, dt_softplus)
    _check(state, x)
    batch, heads = len(x), state.shape[1] if state.dim() == 4 else 1
    dim, n = state.shape[-2:]
    x_, dt_, z_ = (
        _merge_heads(name, tensor, (batch,), heads, (dim,))
        for name, tensor in (("x", x), ("dt", dt), ("z", z))
    )
    D_, bias_ = (
        _merge_heads(name, tensor, (), heads, (dim,))
        for name, tensor in (("D", D), ("dt_bias", dt_bias))
    )
    A_ = _merge_heads("A", A, (), heads, (dim, n))
    B_, C_ = (_with_groups(name, tensor, heads) for name, tensor in (("B", B), ("C", C)))
    merged = state.dim() == 3 or state.stride(1) == dim * state.stride(2)  # flatten makes no copy
    slots = None
    if state_batch_indices is not None:
        slots = read_slots("state_batch_indices", state_batch_indices, batch, state)
        if merged:
            all_rows = state if state.dim() == 3 else state.flatten(1, 2)
            out = one_token(
                all_rows, x_, dt_, A_, B_, C_, D_, z_, bias_, dt_softplus,
                state_indices=state_batch_indices,
            )  # fmt: skip
            return out.view(batch, heads, dim) if state.dim() == 4 else out
    rows = state if slots is None else slots.read(state)
    state_ = rows.flatten(1, 2) if state.dim() == 4 else rows
    out = one_token(state_, x_, dt_, A_, B_, C_, D_, z_, bias_, dt_softplus)
    if state.dim() == 4:
        out = out.view(batch, heads, dim)
    if slots is None:
        if state_.data_ptr() != state.data_ptr():  # flatten made a copy
            state.copy_(state_.view(state.shape))
        return out
    slots.write(state, state_.view(rows.shape))
    return slots.without_padding(out)


def _check(state: Tensor, x: Tensor) -> None:
    """Check the two arguments from which the expected shapes of the others follow."""
    for name, tensor in (("state", state), ("x", x)):
        if not isinstance(tensor, Tensor):
            raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if state.dim() not in (3, 4):
        raise ValueError(
            "state must have shape (batch, dim, n) or (batch, heads, dim, n), "
            f"got {tuple(state.shape)}"
        )
    if x.dim() not in (2, 3):
        raise ValueError(
            f"x must have shape (batch, dim) or (batch, heads, dim), got {tuple(x.shape)}"
        )


def _merge_heads(
    name: str, tensor: Tensor | None, before: tuple[int, ...], heads: int, after: tuple[int, ...]
) -> Tensor | None:
    """(*before, H, *after) with H and the first of `after` as one dimension."""
    if tensor is None:
        return None
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    shape, headless = tuple(tensor.shape), (*before, *after)
    if heads == 1 and shape == headless:
        return tensor
    full = (*before, heads, *after)
    if shape != full:
        also = f" or {headless}" if heads == 1 else ""
        raise ValueError(f"{name} must have shape {full}{also} to match state, got {shape}")
    return tensor.flatten(len(before), len(before) + 1)


def _with_groups(name: str, tensor: Tensor, heads: int) -> Tensor:
    """(B, N) or (B, G, N) -> (B, G, N). The kernel checks that B and N match the state."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if tensor.dim() == 2:
        return tensor.unsqueeze(1)
    if tensor.dim() == 3 and (tensor.shape[1] == 0 or heads % tensor.shape[1]):
        got = tensor.shape[1]
        raise ValueError(f"the groups of {name} must divide the {heads} heads, got {got} groups")
    return tensor
