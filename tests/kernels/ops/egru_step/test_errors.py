"""Wrong arguments of EgruStack, input_table and egru_step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from evenfall_kernels import compress_rows, egru_step, input_table

from .stacks import WORDS, make_ids, make_stack, make_states


def changed(name: str, value: Any) -> dict[str, Any]:
    """Arguments of EgruStack whose second layer has another weight."""
    layers = list(make_stack().layers)
    layers[1] = layers[1]._replace(**{name: value})
    return {"layers": layers}


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"embedding": [1.0]}, TypeError, "embedding must be a Tensor or StoredMatrix, got list"),
        ({"embedding": torch.ones(WORDS, 13).int()}, TypeError, "dtype of embedding must be in"),
        ({"embedding": torch.ones(3)}, ValueError, r"embedding must have shape \(V, E\), got \(3,"),
        ({"embedding": torch.ones(WORDS, 12)}, ValueError, r"layers\[0\].kernel .* \(12, 63\)"),
        ({"embedding": torch.ones(13, WORDS).t()}, ValueError, "embedding must be contiguous, got"),
        ({"layers": []}, ValueError, "layers must not be empty"),
        ({"decoder": None}, ValueError, "decoder_bias needs a decoder, got None"),
        ({"decoder": torch.ones(16, WORDS)}, ValueError, r"decoder must have shape \(17, 63\)"),
        ({"decoder_bias": torch.ones(9)}, ValueError, r"decoder_bias must have shape \(63,\)"),
        ({"input_table": torch.ones(WORDS, 9)}, ValueError, r"input_table must .* \(63, 63\)"),
        (
            {"input_table": torch.ones(WORDS, 63).half()},
            TypeError,
            r"dtype of input_table must be in \(torch.float32,\), got torch.float16",
        ),
        (changed("bias", None), TypeError, r"layers\[1\].bias must be a Tensor, got NoneType"),
        (changed("bias", torch.ones(15).double()), TypeError, r"dtype of layers\[1\].bias"),
        (
            changed("bias", compress_rows(torch.ones(1, 15))),
            TypeError,
            r"layers\[1\].bias must be a Tensor, got CompressedRows",
        ),
        (
            changed("kernel", compress_rows(torch.ones(20, 15))),
            ValueError,
            r"layers\[1\].kernel must have shape \(21, 15\), got \(20, 15\)",
        ),
        (
            changed("threshold", torch.ones(5, device="meta")),
            ValueError,
            r"layers\[1\].threshold is on meta, but embedding is on cpu",
        ),
    ],
)
def test_a_wrong_weight_is_named(options: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=f"EgruStack: {words}"):
        make_stack(**options)


def test_a_table_that_is_too_large_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"33278 rows of 4050 float32 take 539 MB, but at most 256"
    ):
        input_table(torch.empty(33278, 750, device="meta"), torch.empty(750, 4050, device="meta"))


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([3], TypeError, "ids must be a Tensor, got list"),
        (torch.tensor([3], dtype=torch.int32), TypeError, "ids must be int64, got torch.int32"),
        (torch.tensor([[3]]), ValueError, r"ids must have shape \(B,\), got \(1, 1\)"),
        (torch.tensor([3], device="meta"), ValueError, "ids are on meta, but the stack is on cpu"),
        (torch.tensor([WORDS]), IndexError, r"ids must be in \[0, 63\), got 63"),
        (torch.tensor([-1]), IndexError, r"ids must be in \[0, 63\), got -1"),
    ],
)
def test_wrong_ids_are_named(ids: Any, error: type[Exception], words: str) -> None:
    stack = make_stack()
    with pytest.raises(error, match=words):
        egru_step(stack, ids, make_states(stack, 1))


def test_wrong_states_are_named() -> None:
    stack, ids = make_stack(), make_ids(1)
    states: list[Any] = make_states(stack, 1)
    with pytest.raises(ValueError, match=r"pair \(y, h\) for each of 3 layers, got 2"):
        egru_step(stack, ids, states[:2])
    with pytest.raises(TypeError, match=r"states\[1\] must be a pair \(y, h\), got Tensor"):
        egru_step(stack, ids, [states[0], torch.ones(1, 5), states[2]])
    with pytest.raises(TypeError, match=r"states\[1\] must have Tensors, got float"):
        egru_step(stack, ids, [states[0], (torch.ones(1, 5), 1.0), states[2]])
    with pytest.raises(ValueError, match=r"states\[0\] must have shape \(1, 21\), got \(2, 21\)"):
        egru_step(stack, ids, make_states(stack, 2))
    on_meta = [(y.to("meta"), h) for y, h in states]
    with pytest.raises(ValueError, match=r"states\[0\] is on meta, but the stack is on cpu"):
        egru_step(stack, ids, on_meta)


def test_a_gradient_is_refused() -> None:
    stack, ids = make_stack(), make_ids(1)
    states = make_states(stack, 1)
    stack.layers[0].kernel.requires_grad_()
    with pytest.raises(ValueError, match=r"egru_step has no gradients, .* torch.no_grad\(\)"):
        egru_step(stack, ids, states)
    with torch.no_grad():
        egru_step(stack, ids, states)
