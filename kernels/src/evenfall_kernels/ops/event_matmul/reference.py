"""The event product in plain PyTorch: the definition that all other backends are tested against.

N batch   I units   O outputs   nnz stored entries   n stored blocks
"""

import torch
from torch import Tensor


def accumulation_dtype(*dtypes: torch.dtype) -> torch.dtype:
    """float64 if any dtype is float64, else float32."""
    return torch.float64 if torch.float64 in dtypes else torch.float32


def forward(events: Tensor, weight: Tensor, scale: Tensor | None) -> Tensor:
    """out = events @ (scale * weight): (N, I), (I, O), (I,) -> (N, O) in the dtype of events.

    Rows of silent units are multiplied by 0, not skipped, so weights must be finite.
    """
    dtype = accumulation_dtype(events.dtype, weight.dtype)
    coefficients = events.to(dtype)  # (N, I)
    if scale is not None:
        coefficients = coefficients * scale.to(dtype)
    return (coefficients @ weight.to(dtype)).to(events.dtype)


def to_dense(values: Tensor, columns: Tensor, row_starts: Tensor, n_out: int) -> Tensor:
    """The (I, O) matrix of compressed rows or blocks, in the dtype of values.

    M[i, columns[e]] = values[e]           for e in range(row_starts[i], row_starts[i + 1])
    M[i, columns[e] + j] += values[e, j]   the same e, j < width
    """
    n_units = row_starts.shape[0] - 1
    units = torch.repeat_interleave(
        torch.arange(n_units, device=values.device),
        row_starts.diff(),
        output_size=columns.shape[0],
    )
    dense = values.new_zeros(n_units, n_out)
    if values.ndim == 1:
        return dense.index_put((units, columns.long()), values)
    inside = columns.long().unsqueeze(1) + torch.arange(values.shape[1], device=values.device)
    return dense.index_put((units.unsqueeze(1), inside), values, accumulate=True)


def forward_rows(
    events: Tensor,
    values: Tensor,
    columns: Tensor,
    row_starts: Tensor,
    scale: Tensor | None,
    n_out: int,
) -> Tensor:
    """The same for compressed rows, values (nnz,), or blocks, values (n, width)."""
    return forward(events, to_dense(values, columns, row_starts, n_out), scale)
