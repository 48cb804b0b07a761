"""Zeros in the outputs of units, and units that pass no gradient on."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall.counting import Activity, count_operations


def activity_of(model: Any, *inputs: Any) -> Any:
    return count_operations(model.eval(), *inputs).activity


def test_zeros_of_activation_functions() -> None:
    model = nn.Sequential(nn.ReLU(), nn.Hardtanh(), nn.LayerNorm(4), nn.Dropout())
    x = torch.tensor([[1.0, -2, 0, 3]])
    assert activity_of(model, x) == {"0": Activity(4, 2, 2), "1": Activity(4, 2)}


def test_calls_add_up() -> None:
    relu = nn.ReLU()
    model = nn.Sequential(relu, nn.Linear(2, 2, bias=False), relu)
    nn.init.constant_(model[1].weight, 1)
    assert activity_of(model, torch.tensor([[1.0, -1]])) == {"0": Activity(4, 1, 1)}
    assert Activity(4, 1, 1) + Activity(2, 2) == Activity(6, 3, None)


def test_outputs_of_recurrent_modules() -> None:
    model = nn.LSTM(3, 4, batch_first=True)
    assert activity_of(model, torch.ones(2, 5, 3)) == {"": Activity(40, 0)}


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_cells_multiply_the_input_and_the_state(kind: Any) -> None:
    cell, x, h = kind(3, 4), torch.ones(2, 3), torch.tensor([[1.0, 0, 2, 0]] * 2)
    x[0, 0] = 0
    count = count_operations(cell, x, (h, h) if kind is nn.LSTMCell else h)
    gates = {nn.RNNCell: 1, nn.GRUCell: 3, nn.LSTMCell: 4}[kind]
    assert count.total.dense_macs == 2 * gates * 4 * (3 + 4)
    # Its inputs are 0 and 1, so only additions are needed there.
    assert count.total.effective_acs == gates * 4 * 5
    assert count.total.effective_macs == gates * 4 * 4
    assert count_operations(cell, x).total.effective_macs == 0
    assert count.activity == {"": Activity(8, 0)}


def test_linear_layer_of_transformers_stores_inputs_first() -> None:
    utils = pytest.importorskip("transformers.pytorch_utils")
    layer, x = utils.Conv1D(5, 3), torch.tensor([[2.0, 0, 3]])
    count = count_operations(layer, x)
    assert (count.total.dense_macs, count.total.effective_macs) == (15, 10)
    assert count.unknown == {}
