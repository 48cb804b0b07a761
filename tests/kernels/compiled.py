"""Compile the Triton launches of all operations for GPUs; write a row per kernel as JSON.

    python compiled.py [all]

It runs in its own process, because launches are recorded instead of run. Without "all" it compiles
only a few cases, and only the plain ones for AMD.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable

import torch
from launches import TARGETS, Launch, local_bytes, machine_code, record_launches
from torch import Tensor

from evenfall_kernels.ops.causal_conv1d import triton as convolution
from evenfall_kernels.ops.egru_scan import triton as egru
from evenfall_kernels.ops.event_matmul import triton as event
from evenfall_kernels.ops.selective_scan import triton as scan
from evenfall_kernels.ops.selective_state_update import triton as update
from evenfall_kernels.ops.ssd_scan import triton as dual
from evenfall_kernels.ops.ssd_state_update import triton as dual_update

BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32
Call = Callable[[], object]


def empty(*shape: int, dtype: torch.dtype = FP32) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def signal(
    batch: int, channels: int, length: int, dtype: torch.dtype, channels_last: bool
) -> Tensor:
    """(batch, channels, length), with contiguous channels or contiguous time."""
    if channels_last:
        return empty(batch, length, channels, dtype=dtype).transpose(1, 2)
    return empty(batch, channels, length, dtype=dtype)


def ends(sequences: int | None) -> Tensor | None:
    return None if sequences is None else empty(sequences + 1, dtype=torch.int64)


def scans(
    size: tuple[int, ...], dtype: torch.dtype = BF16, gate: bool = True, step: bool = False,
    rule: str = "mamba", sequences: int | None = None, channels_last: bool = False,
) -> Call:  # fmt: skip
    """selective_scan, forward and backward."""

    def call() -> None:
        batch, channels, length, states = size
        u = signal(batch, channels, length, dtype, channels_last)
        projection, one = empty(batch, 1, states, length, dtype=dtype), empty(channels)
        weight = empty(channels, states) if rule == "weighted" else None
        inputs = (
            u, u, empty(channels, states), projection, projection, one, u if gate else None, one,
            empty(batch, length, dtype=dtype) if step else None, one, weight,
            empty(sequences or batch, channels, states), ends(sequences), True,
            "zoh" if rule == "zoh" else "delta",
        )  # fmt: skip
        y, last, chunk_states = scan.forward(*inputs, True)
        scan.backward(y, last, chunk_states, *inputs)

    return call


def convolutions(
    size: tuple[int, ...], dtype: torch.dtype = BF16, sequences: int | None = None,
    channels_last: bool = False, silu: bool = True,
) -> Call:  # fmt: skip
    """causal_conv1d, forward and backward."""

    def call() -> None:
        batch, channels, length = size
        x, weight = (
            signal(batch, channels, length, dtype, channels_last),
            empty(channels, 4, dtype=dtype),
        )
        inputs = (x, weight, None, None, ends(sequences), silu)
        convolution.backward(*convolution.forward(*inputs), *inputs)

    return call


def updates(size: tuple[int, ...], dtype: torch.dtype = BF16, bare: bool = False) -> Call:
    """selective_state_update."""

    def call() -> None:
        batch, channels, states = size
        x, projection, one = (
            empty(batch, channels, dtype=dtype), empty(batch, 1, states, dtype=dtype),
            None if bare else empty(channels),
        )  # fmt: skip
        update.step(
            empty(batch, channels, states), x, x, empty(channels, states), projection, projection,
            one, None if bare else x, one, not bare, None,
        )  # fmt: skip

    return call


def dual_scans(
    size: tuple[int, ...], dtype: torch.dtype = BF16, gate: bool = True, groups: int = 1,
    sequences: int | None = None,
) -> Call:  # fmt: skip
    """ssd_scan, forward and backward."""

    def call() -> None:
        batch, length, heads, channels, states = size
        x, dt = empty(batch, length, heads, channels, dtype=dtype), empty(batch, length, heads)
        projection = empty(batch, length, groups, states, dtype=dtype)
        inputs = (
            x, dt, dt, projection, projection, empty(heads, channels), x if gate else None,
            empty(sequences or batch, heads, channels, states), ends(sequences),
        )  # fmt: skip
        dual.backward(*dual.forward(*inputs, True), *inputs)

    return call


def dual_updates(size: tuple[int, ...], dtype: torch.dtype = BF16, bare: bool = False) -> Call:
    """ssd_state_update."""

    def call() -> None:
        batch, heads, channels, states = size
        x, step = empty(batch, heads, channels, dtype=dtype), empty(batch, heads)
        projection = empty(batch, 1, states, dtype=dtype)
        dual_update.step(
            empty(batch, heads, channels, states), x, step, step, projection, projection,
            None if bare else empty(heads, channels), None if bare else x,
        )  # fmt: skip

    return call


def egru_scans(units: int, dtype: torch.dtype = FP32, mask: bool = False) -> Call:
    """egru_scan over two steps, forward and backward."""

    def call() -> None:
        gates, recurrent = empty(4, 3 * units, dtype=dtype), empty(units, 3 * units, dtype=dtype)
        bias, threshold = empty(3 * units, dtype=dtype), empty(units, dtype=dtype)
        state, keep = empty(2, units, dtype=dtype), empty(4, units, dtype=torch.bool)
        rest = (threshold, state, state, keep if mask else None, 1.0, [2, 2], 0.7, 0.3)
        y, c, h, *saved = egru.forward(gates, recurrent, bias, *rest, True, False)
        egru.backward(y, c, h, *saved, y, c, recurrent, bias, *rest)

    return call


def products(size: tuple[int, ...], dtype: torch.dtype = BF16) -> Call:
    """event_matmul with a dense matrix, with compressed rows, and with blocks."""

    def call() -> None:
        batch, units, outputs = size
        events, scale = empty(batch, units), empty(units) if dtype == torch.int8 else None
        event.forward(events, empty(units, outputs, dtype=dtype), scale)
        columns = empty(units * 99, dtype=torch.uint16 if outputs < 2**16 else torch.int32)
        starts = empty(units + 1, dtype=torch.int64)
        values = empty(units * 99, dtype=dtype)
        event.forward_rows(events, values, columns, starts, scale, outputs)
        blocks = empty(units * 99, 16, dtype=dtype)
        event.forward_rows(events, blocks, columns, starts, scale, outputs)

    return call


PLAIN: dict[str, Call] = {
    "scan": scans((8, 1536, 2048, 16)),
    "convolution": convolutions((8, 1536, 2048)),
    "update": updates((8, 1536, 16)),
    "ssd": dual_scans((8, 2048, 24, 64, 128)),
    "ssd update": dual_updates((8, 24, 64, 128)),
    "egru": egru_scans(1350),
    "products": products((2, 1350, 4050)),
}
QUICK: dict[str, Call] = {
    "scan, zoh, step, packed, odd": scans(
        (1, 1536, 65533, 16), FP32, step=True, rule="zoh", sequences=3
    ),
    "scan, short": scans((64, 1536, 1, 4), gate=False),
    "convolution, packed, channels_last": convolutions(
        (1, 1536, 2**25), FP32, 3, channels_last=True
    ),
    "update, 256 states": updates((8, 4096, 256), FP32, bare=True),
    "ssd, float32, packed, odd": dual_scans(
        (1, 65533, 24, 65, 129), FP32, gate=False, groups=3, sequences=3
    ),
    "egru, mask": egru_scans(256, mask=True),
    "products, int8": products((1, 2**20, 250000), torch.int8),
}
_LAYOUTS = [
    (f"scan, {states} states, {length} steps", scans((4, 1536, length, states)))
    for states in (1, 4, 16, 64, 256)
    for length in (40, 64, 128, 2047, 32768)
]
ALL: dict[str, Call] = {
    **dict(_LAYOUTS),
    **{
        f"scan, {rule}, {dtype}, gate {gate}, step {step}, sequences {sequences}": scans(
            (1, 4096, 32768, 16), dtype, gate, step, rule, sequences
        )
        for rule in ("mamba", "zoh", "weighted")
        for dtype in (BF16, FP16, FP32)
        for gate in (True, False)
        for step in (True, False)
        for sequences in (None, 7)
    },
    "scan, channels_last": scans((8, 1536, 2048, 16), channels_last=True),
    "scan of more than 2**31 elements": scans((512, 4096, 2048, 16)),
    **{
        f"convolution, {dtype}, {sequences}, {channels_last}, {silu}": convolutions(
            (1, 1536, 2047), dtype, sequences, channels_last, silu
        )
        for dtype in (BF16, FP16, FP32)
        for sequences in (None, 7)
        for channels_last in (True, False)
        for silu in (True, False)
    },
    **{
        f"update, {states} states, {dtype}": updates((2, 1536, states), dtype)
        for states in (1, 4, 16, 64, 128, 256)
        for dtype in (BF16, FP16, FP32)
    },
    **{
        f"ssd, {states} states, {dtype}, gate {gate}, sequences {sequences}": dual_scans(
            (1, 4096, 32, 64, states), dtype, gate, 8, sequences
        )
        for states in (1, 16, 256)
        for dtype in (BF16, FP16, FP32)
        for gate in (True, False)
        for sequences in (None, 7)
    },
    "ssd of more than 2**31 elements": dual_scans((128, 8192, 80, 64, 128)),
    "products, float32": products((64, 1350, 4050), FP32),
    "products, float16": products((64, 1350, 4050), FP16),
}


def row(case: str, launch: Launch, target: str) -> dict[str, object]:
    """The resources of a launch, or the compiler's error message."""
    result: dict[str, object] = {"case": case, "kernel": launch.name, "target": target}
    result |= {"grid": launch.grid, "error": None}
    try:
        binary = launch.compile(target)
    except Exception as problem:  # a compiler's errors have no common class
        return result | {"error": f"{type(problem).__name__}: {problem}"[:500]}
    result |= {"shared": binary.metadata.shared, "local": local_bytes(binary, target)}
    if target.startswith("sm"):
        code = machine_code(binary)
        adds = re.search(r"\b(RED|REDG|ATOM|ATOMG)\.", code)  # products have fences of their own
        result["fences"] = code.count("MEMBAR") if adds else 0
    return result


def main(everything: bool) -> None:
    warnings.simplefilter("ignore")
    rows, keys = [], set()
    for case, call in (PLAIN | QUICK | (ALL if everything else {})).items():
        with record_launches() as launches:
            call()
        for launch in launches:
            if everything:
                targets = tuple(TARGETS)
            else:
                targets = ("sm_90", "gfx942") if case in PLAIN else ("sm_90",)
            for target in targets:
                key = f"{target} {launch}"
                if key not in keys:
                    keys.add(key)
                    rows.append(row(case, launch, target))
    json.dump(rows, sys.stdout)


if __name__ == "__main__":
    main("all" in sys.argv[1:])
