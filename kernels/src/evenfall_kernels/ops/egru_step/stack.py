"""The weights of a whole EGRU model, laid out once for `egru_step`.

Dimensions: E embedding, I inputs and H units of a layer, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from numba import config
from torch import Tensor

from ..event_matmul.compressed import Compressed
from ..event_matmul.formats import DenseArrays
from ..event_matmul.stored import StoredMatrix
from .layout import Matrix, arrays_of, table_of

MAX_TABLE_BYTES = 256_000_000
_LOW = (torch.float32, torch.bfloat16, torch.float16)
_OPTIONAL = ("input_table", "decoder", "decoder_bias")
_MATRICES = ("kernel", "recurrent_kernel", "decoder")


class EgruWeights(NamedTuple):
    """The weights of one layer, as `egru_scan` takes them.

    The matrices may also be CompressedRows, CompressedBlocks or a StoredMatrix.
    """

    kernel: Matrix  # (I, 3H)
    recurrent_kernel: Matrix  # (H, 3H)
    bias: Tensor  # (3H,)
    recurrent_bias: Tensor  # (3H,)
    threshold: Tensor  # (H,)


class EgruStack:
    """Embedding, layers and decoder of an EGRU model, to be passed to `egru_step`.

    Nothing is copied: the tensors are read where they are, so a change of their values counts from
    the next step on. A tensor that is replaced needs a new stack. Threads may share a stack.

    Args:
        embedding: (V, E); or a StoredMatrix of dense rows (E, V), which may also be the decoder.
        layers: the weights of each layer; the first has E inputs, each other one as many as the
            layer before has units.
        decoder: (H, O) with one row per unit of the last layer, also compressed, or None:
            `egru_step` then returns the outputs of the last layer.
        decoder_bias: (O,) or None.
        input_table: `input_table(embedding, kernel)` of the first layer, (V, 3H) float32, or None.
            With it, a token reads one row instead of the whole kernel. Make it again when the
            embedding or the kernel changes.

    Tensors are contiguous, on one device, and float32, bfloat16 or float16; or all are float64,
    which only the reference backend supports.

    Raises:
        TypeError: an argument is not a tensor or has another dtype.
        ValueError: a shape or device does not match, or a tensor is not contiguous.
    """

    def __init__(
        self,
        embedding: Tensor | StoredMatrix,
        layers: Sequence[EgruWeights],
        decoder: Matrix | None = None,
        decoder_bias: Tensor | None = None,
        input_table: Tensor | None = None,
    ) -> None:
        named: dict[str, Matrix | None] = {"embedding": embedding, "input_table": input_table}
        for index, weights in enumerate(layers):
            fields = zip(EgruWeights._fields, weights, strict=True)
            named |= {f"layers[{index}].{name}": matrix for name, matrix in fields}
        named |= {"decoder": decoder, "decoder_bias": decoder_bias}
        _check_kinds(named)
        self.units = _check_sizes(named, len(layers))
        self.embedding, self.layers = embedding, tuple(layers)
        self.decoder, self.decoder_bias, self.input_table = decoder, decoder_bias, input_table
        self.words_are_columns = isinstance(embedding, StoredMatrix)
        words = embedding.values if isinstance(embedding, StoredMatrix) else embedding
        self.vocabulary = words.shape[int(self.words_are_columns)]
        self.dtype = torch.float32 if self.words_are_columns else words.dtype  # of the logits
        self.table, self.decoder_can_be_split, self.decoder_row_bytes = None, False, 0
        if words.is_cpu and self.dtype in _LOW and not config.DISABLE_JIT:
            # They share the memory, so an address stays valid if `parameter.data` is replaced.
            self._arrays = [arrays_of(matrix) for matrix in named.values()]
            columns = [0 if m is None else m.shape[-1] for m in named.values()]
            self.table = table_of(self._arrays, columns)
            rows = self._arrays[-2]
            if isinstance(rows, DenseArrays):
                self.decoder_can_be_split, self.decoder_row_bytes = True, rows.values[0].nbytes

    def __reduce__(self) -> tuple[Any, ...]:
        """A copy, or what is unpickled, has addresses of its own."""
        parts = self.embedding, self.layers, self.decoder, self.decoder_bias, self.input_table
        return EgruStack, parts

    @property
    def tensors(self) -> list[Tensor]:
        """All tensors that were passed; compressed matrices are constant and not among them."""
        parts = [self.embedding, *(m for layer in self.layers for m in layer)]
        parts += [self.decoder, self.decoder_bias, self.input_table]
        return [part for part in parts if isinstance(part, Tensor)]


def input_table(embedding: Tensor, kernel: Tensor) -> Tensor:
    """The product of every embedding with the kernel of the first layer, (V, 3H) float32.

    Args:
        embedding: (V, E).
        kernel: (E, 3H).

    Raises:
        ValueError: the table would take more than 256 MB.
    """
    size = 4 * embedding.shape[0] * kernel.shape[1]
    if size > MAX_TABLE_BYTES:
        raise ValueError(
            f"input_table: {embedding.shape[0]} rows of {kernel.shape[1]} float32 take "
            f"{size / 1e6:.0f} MB, but at most {MAX_TABLE_BYTES / 1e6:.0f} MB are allowed"
        )
    return torch.mm(embedding.detach().float(), kernel.detach().float())


def _check_kinds(named: dict[str, Matrix | None]) -> None:
    """Check type, dtype, device and layout."""
    first = named["embedding"]
    if not isinstance(first, Tensor | StoredMatrix):
        raise TypeError(
            f"EgruStack: embedding must be a Tensor or StoredMatrix, got {type(first).__name__}"
        )
    if isinstance(first, StoredMatrix) and first.format != "rows":
        raise ValueError(f"EgruStack: embedding must have dense rows, got format {first.format!r}")
    is_double = isinstance(first, Tensor) and first.dtype == torch.float64
    allowed = (torch.float64,) if is_double else _LOW
    for name, matrix in named.items():
        if matrix is None and name in _OPTIONAL:
            continue
        compressed = (
            isinstance(matrix, Compressed | StoredMatrix) and name.rpartition(".")[2] in _MATRICES
        ) or name == "embedding"
        if matrix is None or not (compressed or isinstance(matrix, Tensor)):
            raise TypeError(f"EgruStack: {name} must be a Tensor, got {type(matrix).__name__}")
        if matrix.device != first.device:
            raise ValueError(
                f"EgruStack: {name} is on {matrix.device}, but embedding is on {first.device}"
            )
        if isinstance(matrix, Tensor):
            _check_tensor(name, matrix, (torch.float32,) if name == "input_table" else allowed)


def _check_tensor(name: str, tensor: Tensor, allowed: tuple[torch.dtype, ...]) -> None:
    if tensor.dtype not in allowed:
        raise TypeError(f"EgruStack: dtype of {name} must be in {allowed}, got {tensor.dtype}")
    if not tensor.is_contiguous():
        raise ValueError(f"EgruStack: {name} must be contiguous, got strides {tensor.stride()}")


def _check_sizes(named: dict[str, Matrix | None], layers: int) -> tuple[int, ...]:
    """The units of each layer."""
    if layers == 0:
        raise ValueError("EgruStack: layers must not be empty")
    shapes = {name: tuple(m.shape) for name, m in named.items() if m is not None}
    if isinstance(named["embedding"], StoredMatrix):
        shapes["embedding"] = shapes["embedding"][::-1]
    if len(shapes["embedding"]) != 2:
        raise ValueError(f"EgruStack: embedding must have shape (V, E), got {shapes['embedding']}")
    vocabulary, width = shapes["embedding"]
    units = [sum(shapes[f"layers[{index}].threshold"]) for index in range(layers)]
    want: dict[str, tuple[int, ...]] = {}
    for index, (inputs, own) in enumerate(pairwise([width, *units])):
        sizes = (inputs, 3 * own), (own, 3 * own), (3 * own,), (3 * own,), (own,)
        names = (f"layers[{index}].{name}" for name in EgruWeights._fields)
        want |= dict(zip(names, sizes, strict=True))
    if "decoder_bias" in shapes and "decoder" not in shapes:
        raise ValueError("EgruStack: decoder_bias needs a decoder, got None")
    outputs = shapes.get("decoder", (0,))[-1]
    want |= {"decoder": (units[-1], outputs), "decoder_bias": (outputs,)}
    want["input_table"] = vocabulary, 3 * units[0]
    for name, shape in shapes.items():
        if shape != want.get(name, shape):
            raise ValueError(f"EgruStack: {name} must have shape {want[name]}, got {shape}")
    return tuple(units)
