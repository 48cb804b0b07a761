"""The stand-ins of causal_conv1d's references agree with its functions."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from evenfall_mamba.standins.causal_conv1d import causal_conv1d_interface as interface
from evenfall_mamba.standins.causal_conv1d import causal_conv1d_varlen as varlen

CLOSE: dict[str, float] = {"rtol": 0, "atol": 1e-5}


def inputs(length: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.randn(2, 8, length), torch.randn(8, 4), torch.randn(8)


@pytest.mark.parametrize("activation", [None, "silu"])
@pytest.mark.parametrize("initial", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_convolution(activation: str | None, initial: bool, packed: bool) -> None:
    x, weight, bias = inputs()
    seq_idx = torch.tensor([[0, 0, 1, 1, 1, 1, 2], [4, 4, 4, 4, 4, -1, -1]]) if packed else None
    options: dict[str, Any] = {
        "initial_states": torch.randn(2, 8, 3) if initial else None, "seq_idx": seq_idx,
        "activation": activation, "return_final_states": True,
    }  # fmt: skip
    got = interface.causal_conv1d_ref(x, weight, bias, **options)
    want = interface.causal_conv1d_fn(x, weight, bias, **options)
    torch.testing.assert_close(got, want, **CLOSE)


@pytest.mark.parametrize("ring", [False, True])
@pytest.mark.parametrize("length", [None, 1, 3, 6])
def test_update(ring: bool, length: int | None) -> None:
    x, weight, bias = inputs(length or 1)
    x = x[..., 0] if length is None else x
    count = torch.tensor([2, 9]) if ring else None
    states = [torch.randn(2, 8, 5, generator=torch.Generator().manual_seed(3)) for _ in range(2)]
    got = interface.causal_conv1d_update_ref(x, states[0], weight, bias, "silu", count)
    want = interface.causal_conv1d_update(x, states[1], weight, bias, "silu", count)
    torch.testing.assert_close(got, want, **CLOSE)
    torch.testing.assert_close(states[0], states[1], **CLOSE)


def test_last_inputs_of_packed_sequences() -> None:
    x, bounds = torch.randn(9, 3), torch.tensor([0, 2, 2, 9])
    got = varlen.causal_conv1d_varlen_states_ref(x, bounds, 4)
    torch.testing.assert_close(got, varlen.causal_conv1d_varlen_states(x, bounds, 4))


def test_other_activations_are_refused() -> None:
    x, weight, _ = inputs()
    with pytest.raises(NotImplementedError, match="got 'gelu'"):
        interface.causal_conv1d_ref(x, weight, activation="gelu")
