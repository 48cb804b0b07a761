"""The PyTorch operators behind event_matmul: opcheck, torch.compile, and fork safety."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from evenfall import use_backend
from evenfall.errors import BackendError
from evenfall_kernels import compress_rows, event_matmul, quantize_rows
from evenfall_kernels.ops.event_matmul.op import event_matmul_dense, event_matmul_rows

FORKS = """
import os, torch
from evenfall_kernels import event_matmul
from evenfall_kernels.ops.event_matmul import cpu
cpu._BYTES_PER_THREAD = 1
torch.get_num_threads = lambda: 2
call = lambda: event_matmul(torch.ones(1, 8), torch.ones(8, 64))
assert call().sum() == 512
child = os.fork()
if child == 0:
    os._exit(0 if call().sum() == 512 else 1)
assert os.waitpid(child, 0)[1] == 0
"""


def make_events(*shape: int) -> Tensor:
    return torch.randn(shape) * (torch.rand(shape) < 0.3)


@pytest.mark.parametrize("events", [make_events(3, 63), make_events(0, 63)])
def test_opcheck_dense(events: Tensor) -> None:
    weight, scale = torch.randn(63, 65), torch.rand(63)
    quantized, steps = quantize_rows(weight)
    trained = [tensor.clone().requires_grad_() for tensor in (events, weight, scale)]
    torch.library.opcheck(event_matmul_dense, (*trained[:2], None, "cpu"))
    torch.library.opcheck(event_matmul_dense, (*trained, "cpu"))
    torch.library.opcheck(event_matmul_dense, (trained[0], quantized, steps, "cpu"))
    torch.library.opcheck(event_matmul_dense, (events.bfloat16(), weight, None, "cpu"))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
@pytest.mark.parametrize("index_dtype", [torch.uint16, torch.int32])
def test_opcheck_rows(dtype: torch.dtype, index_dtype: torch.dtype) -> None:
    rows = compress_rows(make_events(63, 65), dtype=dtype, index_dtype=index_dtype)
    matrix = rows.values, rows.columns, rows.row_starts, rows.scale, 65
    events = make_events(3, 63).requires_grad_()
    torch.library.opcheck(event_matmul_rows, (events, *matrix, "cpu"))


@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles_without_a_graph_break(dynamic: bool) -> None:
    compiled = torch.compile(event_matmul, backend="aot_eager", fullgraph=True, dynamic=dynamic)
    weight = torch.randn(63, 65, requires_grad=True)
    bias = torch.randn(65, requires_grad=True)
    for lead in ((3,), (2, 5), ()):
        events = make_events(*lead, 63).requires_grad_()
        got, want = compiled(events, weight, bias=bias), event_matmul(events, weight, bias=bias)
        torch.testing.assert_close(got, want)
        inputs = events, weight, bias
        pairs = (torch.autograd.grad(out.square().sum(), inputs) for out in (got, want))
        for actual, exact in zip(*pairs, strict=True):
            torch.testing.assert_close(actual, exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_compiles_with_compressed_rows(dtype: torch.dtype) -> None:
    rows = compress_rows(make_events(63, 65), dtype=dtype)
    compiled = torch.compile(
        lambda events: event_matmul(events, rows), backend="aot_eager", fullgraph=True
    )
    events = make_events(3, 63).requires_grad_()
    got, want = compiled(events), event_matmul(events, rows)
    torch.testing.assert_close(got, want)
    (actual,), (exact,) = (torch.autograd.grad(out.sum(), events) for out in (got, want))
    torch.testing.assert_close(actual, exact)


@pytest.mark.parametrize("compress", [False, True])
def test_the_number_of_units_is_checked(compress: bool) -> None:
    """A graph traced with one shape can be run with another: the loops would read out of bounds."""
    weight = torch.ones(63, 65)
    matrix = compress_rows(weight) if compress else weight
    traced = make_fx(lambda events: event_matmul(events, matrix))(make_events(3, 63))
    with pytest.raises(ValueError, match="events have 99 units, weight has 63"):
        traced(torch.ones(3, 99))


def test_tracing_does_not_read_the_scale() -> None:
    weight, scale = quantize_rows(torch.randn(63, 65))
    traced = make_fx(lambda events: event_matmul(events, weight, scale=scale))(torch.ones(3, 63))
    events = make_events(3, 63)
    torch.testing.assert_close(traced(events), event_matmul(events, weight, scale=scale))


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_transforms_of_compressed_rows_raise_an_error(dtype: torch.dtype) -> None:
    rows, events = compress_rows(make_events(63, 65), dtype=dtype), make_events(3, 63)
    with pytest.raises(BackendError, match="event_matmul: backend 'cpu' does not support"):
        torch.func.jvp(lambda events: event_matmul(events, rows), (events,), (events,))
    with use_backend("reference"):
        tangent = torch.func.jvp(lambda x: event_matmul(x, rows), (events,), (events,))[1]
    torch.testing.assert_close(tangent, event_matmul(events, rows))


def test_compiles_int8_without_reading_the_scale() -> None:
    weight, scale = quantize_rows(torch.randn(63, 65))
    compiled = torch.compile(event_matmul, backend="eager", fullgraph=True)
    events = make_events(3, 63)
    with torch.no_grad():
        torch.testing.assert_close(
            compiled(events, weight, scale=scale), event_matmul(events, weight, scale=scale)
        )


def test_shapes_on_the_meta_device() -> None:
    events, weight = torch.ones(2, 3, 63, device="meta"), torch.ones(63, 65, device="meta")
    out = event_matmul(events, weight)
    assert (out.shape, out.device.type) == ((2, 3, 65), "meta")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
def test_threads_survive_a_fork() -> None:
    subprocess.run([sys.executable, "-c", FORKS], check=True, timeout=3600)
