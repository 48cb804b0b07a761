"""`selective_state_update` of `mamba_ssm`, with the heads and the state indices of Mamba-2.

B batch   H heads   D channels of a head   N states   G groups
"""

from __future__ import annotations

from torch import Tensor

from evenfall_kernels import selective_state_update as one_token

from .slots import slots

_WITHOUT_HEADS = (3, 2, 2, 2, 2, 2, 1, 2, 1)  # dimensions of state to dt_bias


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
    """Advance by one token; the state is changed in place.

    Of a single head every argument may have or lack the dimension of heads, whichever the others
    have.

    Args:
        state: (B, D, N), which is one head, or (B, H, D, N).
        x: (B, D) or (B, H, D).
        dt: as x.
        A: (D, N) or (H, D, N).
        B: (B, N) or (B, G, N), where G divides H.
        C: as B.
        D: (D,) or (H, D).
        z: as x.
        dt_bias: as D.
        dt_softplus: whether dt goes through softplus.
        state_batch_indices: (B,) integers, the rows of state to use, which then may have more of
            them than B; a negative one marks padding, whose output is zero.

    Returns:
        (B, H, D) for a state with heads, else (B, D).

    Raises:
        TypeError: a tensor that is not floating point, or indices that are not integers.
        ValueError: shapes or devices do not match, or an index has no row.
    """
    given = state, x, dt, A, B, C, D, z, dt_bias
    spelled = zip(given, _WITHOUT_HEADS, strict=True)
    if state_batch_indices is None and all(getattr(t, "ndim", n) == n for t, n in spelled):
        return one_token(*given, dt_softplus)
    _check(state, x)
    batch, heads = len(x), state.shape[1] if state.dim() == 4 else 1
    dim, n = state.shape[-2:]
    x_, dt_, z_ = (
        _merge(name, tensor, (batch,), heads, (dim,))
        for name, tensor in (("x", x), ("dt", dt), ("z", z))
    )
    D_, bias_ = (
        _merge(name, tensor, (), heads, (dim,)) for name, tensor in (("D", D), ("dt_bias", dt_bias))
    )
    A_ = _merge("A", A, (), heads, (dim, n))
    B_, C_ = (_grouped(name, tensor, heads) for name, tensor in (("B", B), ("C", C)))
    used = None
    if state_batch_indices is not None:
        used = slots("state_batch_indices", state_batch_indices, batch, state)
    rows = state if used is None else used.read(state)
    merged = rows.flatten(1, 2) if state.dim() == 4 else rows
    out = one_token(merged, x_, dt_, A_, B_, C_, D_, z_, bias_, dt_softplus)
    if state.dim() == 4:
        out = out.view(batch, heads, dim)
    if used is None:
        if merged.data_ptr() != state.data_ptr():  # flattening made a copy
            state.copy_(merged.view(state.shape))
        return out
    used.write(state, merged.view(rows.shape))
    return used.without_padding(out)


def _check(state: Tensor, x: Tensor) -> None:
    """What the shapes of the others are told by."""
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


def _merge(
    name: str, tensor: Tensor | None, before: tuple[int, ...], heads: int, after: tuple[int, ...]
) -> Tensor | None:
    """Heads and their channels as one dimension."""
    if tensor is None:
        return None
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    shape, alone = tuple(tensor.shape), (*before, *after)
    if heads == 1 and shape == alone:
        return tensor
    full = (*before, heads, *after)
    if shape != full:
        also = f" or {alone}" if heads == 1 else ""
        raise ValueError(f"{name} must have shape {full}{also} to match state, got {shape}")
    return tensor.flatten(len(before), len(before) + 1)


def _grouped(name: str, tensor: Tensor, heads: int) -> Tensor:
    """(B, G, N); that it fits the state is for the kernel to check."""
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a Tensor, got {type(tensor).__name__}")
    if tensor.dim() == 2:
        return tensor.unsqueeze(1)
    if tensor.dim() == 3 and (tensor.shape[1] == 0 or heads % tensor.shape[1]):
        got = tensor.shape[1]
        raise ValueError(f"{name} must have groups that divide {heads} heads, got {got}")
    return tensor
