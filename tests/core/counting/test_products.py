"""What multiplied each matrix of a model, and the gates that a matrix has."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall.counting import count_operations, list_matrices


def products_of(model: Any, *inputs: Any) -> Any:
    return count_operations(model.eval(), *inputs).products


def test_inputs_of_a_linear_layer_are_counted_one_by_one() -> None:
    x = torch.tensor([[[1.0, 0, 2], [3, 0, 0]]])
    (product,) = products_of(nn.Linear(3, 4), x)["weight"]
    assert (product.rows, product.active.tolist()) == (2, [2, 0, 1])
    assert product.squares.tolist() == [10, 0, 4]
    assert product.operations.effective_macs == 12


def test_calls_of_one_module_add_up() -> None:
    layer = nn.Linear(3, 3, bias=False)
    found = products_of(nn.Sequential(layer, nn.ReLU(), layer), torch.ones(5, 3))
    assert list(found) == ["0.weight"]
    assert found["0.weight"][0].rows == 10


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_matrix_reads_the_states_before_each_step(kind: Any) -> None:
    torch.manual_seed(0)
    model, x = kind(3, 4, batch_first=True), torch.randn(2, 6, 3)
    first = torch.randn(1, 2, 4)
    state = (first, torch.randn(1, 2, 4)) if kind is nn.LSTM else first
    with torch.no_grad():
        y, _ = model(x, state)
    before = torch.cat([first[0][:, None], y[:, :-1]], 1).double()
    (product,) = products_of(model, x, state)["weight_hh_l0"]
    assert torch.allclose(product.squares, before.square().sum((0, 1)))
    assert product.rows == 12


def test_parts_of_an_attention_are_separate() -> None:
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    found = products_of(model, torch.ones(1, 3, 4), torch.zeros(1, 5, 4), torch.ones(1, 5, 4))
    assert [part.rows for part in found["in_proj_weight"]] == [3, 5, 5]
    assert [int(part.active.sum()) for part in found["in_proj_weight"]] == [12, 0, 20]
    (last,) = found["out_proj.weight"]
    assert (last.rows, last.active, last.squares) == (3, None, None)


def test_channels_of_a_convolution_are_its_inputs() -> None:
    x = torch.zeros(2, 3, 4)
    x[:, 1] = 2
    (product,) = products_of(nn.Conv1d(3, 5, 3), x)["weight"]
    assert (product.rows, product.active.tolist()) == (8, [0, 8, 0])
    assert product.squares.tolist() == [0, 32, 0]


def test_parametrised_weight_is_found() -> None:
    model = nn.utils.parametrizations.weight_norm(nn.Linear(3, 4))
    assert list(products_of(model, torch.ones(1, 3))) == ["weight"]


def test_gates_of_matrices() -> None:
    def gates(model: Any) -> dict[str, int]:
        return {one.name: one.matrix.gates for one in list_matrices(model)}

    assert gates(nn.GRU(2, 3)) == {"weight_ih_l0": 3, "weight_hh_l0": 3}
    assert gates(nn.LSTM(2, 3, proj_size=2)) == {
        "weight_ih_l0": 4, "weight_hh_l0": 4, "weight_hr_l0": 1,
    }  # fmt: skip
    assert gates(nn.RNN(2, 3)) == {"weight_ih_l0": 1, "weight_hh_l0": 1}
    assert gates(nn.MultiheadAttention(4, 2)) == {"in_proj_weight": 3, "out_proj.weight": 1}
    for one in list_matrices(nn.GRU(2, 3)):
        assert (one.matrix.input_axis, one.matrix.output_axis) == (1, 0)
