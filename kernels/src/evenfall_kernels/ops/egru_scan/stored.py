"""egru_scan with matrices in other storage formats: the inference form of a compressed layer.

Dimensions as in reference.py.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor

from evenfall.errors import shorten

from ...common.dispatch import choose
from ..event_matmul.formats import DenseArrays, dense_arrays
from ..event_matmul.stored import StoredMatrix
from . import EgruScan, egru_scan
from .checks import check_bounds, check_cu_seqlens, check_options, check_state
from .packing import Packed, Padded

_OPTIONS = tuple(
    name
    for name, parameter in inspect.signature(egru_scan).parameters.items()
    if parameter.kind is parameter.KEYWORD_ONLY
)


def egru_scan_stored(
    x: Tensor,
    kernel: Tensor | StoredMatrix,
    recurrent_kernel: Tensor | StoredMatrix,
    bias: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    **options: Any,
) -> EgruScan:
    """egru_scan whose kernel or recurrent kernel, or both, are stored matrices.

    On the CPU, without gradients, each step reads only the stored entries of units that fired.
    Everywhere else the matrices are made dense for the call: right, but slower than dense weights.

    Args:
        x, bias, recurrent_bias, threshold: as in `egru_scan`.
        kernel: W, (input, 3 units).
        recurrent_kernel: R, (units, 3 units).
        options: those of `egru_scan`.

    Raises:
        ValueError: a shape, device or option is wrong; or training, which changes no stored matrix.
        TypeError: as `egru_scan`; or egru_scan has no such option.
    """
    for name in options:
        if name not in _OPTIONS:
            raise TypeError(
                f"egru_scan_stored: option must be one of {_OPTIONS}, got {shorten(name)}"
            )
    if options.get("training") or options.get("dropconnect_mask") is not None:
        raise ValueError("egru_scan_stored: compressed matrices cannot be trained; call eval()")
    vectors = bias, recurrent_bias, threshold
    module = _compiled(x, kernel, recurrent_kernel, vectors, options)
    if module is None:
        pair = _dense(kernel, x), _dense(recurrent_kernel, x)
        return egru_scan(x, *pair, *vectors, **options)
    return _scan(module, x, kernel, recurrent_kernel, *vectors, options)


def _compiled(
    x: Tensor, kernel: Any, recurrent_kernel: Any, vectors: tuple[Tensor, ...], options: Any
) -> Any:
    """The CPU backend if it can run the call directly, else None. Wrong arguments are left to
    egru_scan, which says what is wrong."""
    matrices = [m for m in (kernel, recurrent_kernel) if isinstance(m, Tensor)]
    choice = choose("egru_scan", (x, *matrices, *vectors))
    units = vectors[2].numel()
    runs = (
        choice.backend == "cpu"
        and x.ndim == 3
        and tuple(kernel.shape) == (x.shape[-1], 3 * units)
        and tuple(recurrent_kernel.shape) == (units, 3 * units)
        and tuple(map(len, vectors)) == (3 * units, 3 * units, units)
        and options.get("variant", "released") == "released"
        and not torch.is_autocast_enabled("cpu")
    )
    return choice.module if runs else None


def _scan(
    module: Any,
    x: Tensor,
    kernel: Tensor | StoredMatrix,
    recurrent_kernel: Tensor | StoredMatrix,
    bias: Tensor,
    recurrent_bias: Tensor,
    threshold: Tensor,
    options: dict[str, Any],
) -> EgruScan:
    cu_seqlens, zoneout = options.get("cu_seqlens"), options.get("zoneout", 0.0)
    check_options(zoneout, "released", options.get("dampening", 0.7), options.get("support", 1.0))
    if cu_seqlens is not None:
        check_cu_seqlens(cu_seqlens, x)
        check_bounds(cu_seqlens, x.shape[1])
    layout = Padded(*x.shape[:2]) if cu_seqlens is None else Packed(cu_seqlens)
    sequences = x.shape[0] if cu_seqlens is None else cu_seqlens.numel() - 1
    rows, units = layout.pack(x).float(), threshold.numel()
    state = options.get("initial_state")
    if state is None:
        y0 = h0 = rows.new_zeros(sequences, units)
    else:
        check_state(state, sequences, units, x)
        y0, h0 = (layout.sort(part.float()).contiguous() for part in state)
    y, c, h = module.forward_stored(
        _multiply(rows, kernel, bias), _arrays(recurrent_kernel),
        recurrent_bias.float().contiguous(), threshold.float().contiguous(), y0, h0,
        1.0 - zoneout, layout.batch_sizes,
    )  # fmt: skip
    last = layout.unsort(layout.last(y, y0)), layout.unsort(h)
    cells = layout.unpack(c)
    events = (cells > threshold).to(cells.dtype) if options.get("return_events") else None
    out = layout.unpack(y).to(x.dtype)
    return EgruScan(out, last, events, cells if options.get("return_cells") else None)


def _multiply(rows: Tensor, matrix: Tensor | StoredMatrix, bias: Tensor) -> Tensor:
    if isinstance(matrix, StoredMatrix):
        return matrix(rows, bias).contiguous()
    return torch.addmm(bias.float(), rows, matrix.float())


def _dense(matrix: Tensor | StoredMatrix, x: Tensor) -> Tensor:
    dense = matrix.dense() if isinstance(matrix, StoredMatrix) else matrix
    return dense.to(x.dtype)


def _arrays(matrix: Tensor | StoredMatrix) -> Any:
    if isinstance(matrix, StoredMatrix):
        return matrix.arrays()
    arrays: DenseArrays = dense_arrays(matrix, None)
    return arrays
