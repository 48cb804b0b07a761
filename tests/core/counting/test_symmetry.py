"""Which units of a model can be permuted, and in which tensors they occur."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall.counting import UnitGroup, find_unit_groups


def names(group: UnitGroup) -> list[tuple[str, int, int]]:
    return sorted((one.name, one.axis, one.gates) for one in group.axes)


def test_hidden_units_of_a_chain_and_not_its_inputs_and_outputs() -> None:
    model = nn.Sequential(
        nn.Linear(3, 4), nn.ReLU(), nn.Dropout(), nn.LayerNorm(4), nn.Linear(4, 5, bias=False),
        nn.Tanh(), nn.Linear(5, 2),
    )  # fmt: skip
    first, second = find_unit_groups(model)
    assert names(first) == [
        ("0.bias", 0, 1),
        ("0.weight", 0, 1),
        ("3.bias", 0, 1),
        ("3.weight", 0, 1),
        ("4.weight", 1, 1),
    ]
    assert (first.size, second.size) == (4, 5)
    assert names(second) == [("4.weight", 0, 1), ("6.weight", 1, 1)]


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
def test_lower_layers_of_a_recurrent_network(kind: Any, gates: int) -> None:
    (group,) = find_unit_groups(kind(3, 4, num_layers=2))
    assert names(group) == [
        ("bias_hh_l0", 0, gates),
        ("bias_ih_l0", 0, gates),
        ("weight_hh_l0", 0, gates),
        ("weight_hh_l0", 1, 1),
        ("weight_ih_l0", 0, gates),
        ("weight_ih_l1", 1, 1),
    ]
    assert find_unit_groups(kind(3, 4, num_layers=2, bidirectional=True)) == []


class Own(nn.Module):
    """A module that nobody has stated anything about."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.two(self.one(x).flip(-1))


class OwnForward(nn.Sequential):
    def forward(self, x: Any) -> Any:
        for module in self:
            x = module(x).flip(-1)
        return x


@pytest.mark.parametrize(
    "between",
    [nn.BatchNorm1d(4), nn.Softmax(-1), nn.PReLU(4), nn.Flatten(), nn.Sequential(nn.ReLU()), Own()],
    ids=lambda module: type(module).__name__,
)
def test_units_that_an_unknown_module_reads_stay(between: nn.Module) -> None:
    assert find_unit_groups(nn.Sequential(nn.Linear(3, 4), between, nn.Linear(4, 2))) == []


def test_nothing_is_known_of_an_own_forward() -> None:
    assert find_unit_groups(Own()) == []
    assert find_unit_groups(OwnForward(nn.Linear(3, 4), nn.Linear(4, 2))) == []


def test_module_that_is_used_twice_is_left_alone() -> None:
    layer = nn.Linear(4, 4)
    assert find_unit_groups(nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU())) == []


def test_tied_weights_join_their_units() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    model[2].weight = model[1].weight
    (group,) = find_unit_groups(model)
    assert names(group) == [
        ("0.bias", 0, 1), ("0.weight", 0, 1), ("1.bias", 0, 1), ("1.weight", 0, 1),
        ("1.weight", 1, 1), ("2.bias", 0, 1), ("3.weight", 1, 1),
    ]  # fmt: skip


def test_weight_with_another_use_stays() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    assert len(find_unit_groups(model)) == 1
    model[1].other = model[2].weight
    assert find_unit_groups(model) == []


def test_units_of_different_numbers_are_an_error() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.Linear(5, 2))
    with pytest.raises(ValueError, match=r"units that are linked have different numbers: 0.weight"):
        find_unit_groups(model)
