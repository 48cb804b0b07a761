"""Reordering changes the places of units and not what a model computes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import numpy as np
from torch import nn

from evenfall.counting import find_unit_groups
from evenfall_sparsity import prune
from evenfall_sparsity.pruning.clusters import cluster
from evenfall_sparsity.pruning.reorder import permute, reorder_units
from evenfall_sparsity.pruning.targets import find_targets


def shuffle(model: nn.Module) -> int:
    """Permute every group of units at random; returns the number of groups."""
    groups, generator = find_unit_groups(model), torch.Generator().manual_seed(5)
    for group in groups:
        order = torch.randperm(group.size, generator=generator)
        for axis in group.axes:
            permute(axis, order)
    return len(groups)


def randomise(model: nn.Module) -> None:
    """Every parameter has values of its own, so that a forgotten one is seen."""
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 2)


def test_chain_computes_the_same_to_the_bit_where_sums_are_exact() -> None:
    model = nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))
    randomise(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(8).round_()
    x = torch.randint(-9, 9, (5, 3)).float()
    before, weight = model(x), model[2].weight.detach().clone()
    assert shuffle(model) == 2
    assert not torch.equal(model[2].weight, weight)
    assert torch.equal(model(x), before)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_network_computes_the_same(kind: Any) -> None:
    model = kind(3, 7, num_layers=3, batch_first=True).double()
    randomise(model)
    x = torch.randn(2, 9, 3, dtype=torch.float64)
    before = model(x)[0]
    assert shuffle(model) == 2
    assert torch.allclose(model(x)[0], before, rtol=0, atol=1e-12)


@pytest.mark.parametrize("projected", [False, True])
def test_egru_computes_the_same(make_egru: Callable[..., Any], ids: Any, projected: bool) -> None:
    """Tied to the embedding, the last layer shares its units with the embedding and the decoder;
    with a projection in between they are two groups."""
    sizes = [20, 16] if projected else [20, 12]
    model = make_egru(hidden_sizes=sizes).double()
    with torch.no_grad():
        for layer in model.model.layers:
            layer.threshold.uniform_(0, 0.2)
            layer.bias.normal_()
            layer.recurrent_bias.normal_()
    before, events = model(ids).logits, model(ids, output_events=True).activity
    embedding = model.model.embed_tokens.weight.detach().clone()
    assert shuffle(model) == (3 if projected else 2)
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert not torch.equal(model.model.embed_tokens.weight, embedding)
    assert torch.allclose(model(ids).logits, before, rtol=0, atol=1e-12)
    assert [float(a) for a in model(ids, output_events=True).activity] == pytest.approx(
        [float(a) for a in events]
    )
    assert all(float(a) > 0 for a in events)


def test_generation_is_the_same(make_egru: Callable[..., Any], ids: Any) -> None:
    model = make_egru().double()
    before = model.generate(ids, max_new_tokens=4, do_sample=False)
    shuffle(model)
    assert torch.equal(model.generate(ids, max_new_tokens=4, do_sample=False), before)


def test_clusters_find_units_that_belong_together() -> None:
    """Three kinds of units in random order; units of one kind have their weights in one place."""
    generator = np.random.default_rng(0)
    kind = generator.permutation(np.repeat([0, 1, 2], 4))
    features = np.eye(3)[kind] + 0.1 * generator.random((12, 3))
    order = cluster(features @ features.T, 4)
    assert sorted(order.tolist()) == list(range(12))
    assert all(len({kind[unit] for unit in part}) == 1 for part in order.reshape(3, 4))


def test_clusters_of_a_number_that_is_no_multiple() -> None:
    features = np.random.default_rng(0).random((10, 5))
    assert sorted(cluster(features @ features.T, 4).tolist()) == list(range(10))
    assert sorted(cluster(features @ features.T, 16).tolist()) == list(range(10))


def retained(model: Any, reorder: bool) -> float:
    """The share of the squared weights that is left after blocks are removed."""
    model = copy.deepcopy(model)
    before = sum(float(w.square().sum()) for w in model.parameters() if w.dim() == 2)
    prune(model, 0.5, block=(1, 4), reorder=reorder)
    after = sum(float(w.square().sum()) for w in model.parameters() if w.dim() == 2)
    return after / before


def test_more_is_left_after_reordering() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 4)
    )
    kinds = torch.randint(2, (32,)).bool()
    with torch.no_grad():  # half of the units read the first inputs, half the last
        model[0].weight[kinds, :6] /= 20
        model[0].weight[~kinds, 6:] /= 20
    assert retained(model, reorder=True) > retained(model, reorder=False) + 0.05


def test_masks_move_with_their_weights() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    prune(model, 0.5)
    shuffle(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    zeros = [model[i].weight == 0 for i in (0, 2)]
    model(torch.randn(4, 6)).sum().backward()
    optimizer.step()
    assert all(torch.equal(model[i].weight == 0, z) for i, z in zip((0, 2), zeros, strict=True))


def test_single_weights_need_no_order() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    targets = find_targets(model, None, None, (1, 1))
    assert reorder_units(model, targets, (1, 1)) == []
    assert reorder_units(model, targets, (1, 4)) == ["0.weight", "0.bias", "2.weight"]
    assert reorder_units(model, targets, (4, 1)) == ["0.weight", "0.bias", "2.weight"]


def test_units_that_cannot_be_permuted_are_told() -> None:
    model = nn.Sequential(nn.Linear(8, 8))
    with pytest.warns(UserWarning, match="reorder changed nothing"):
        prune(model, 0.5, block=(1, 4), reorder=True)
