"""Zeros stay zeros: in training, copies, files, averages, with any optimiser."""

from __future__ import annotations

import copy
import gc
import io
import weakref
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from evenfall_sparsity import keep_zeros, prune, release_masks
from evenfall_sparsity.pruning.masks import Mask, masks_of, set_mask


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))


def make_optimizer(kind: str, model: nn.Module) -> Any:
    if kind == "Muon":
        return torch.optim.Muon([w for w in model.parameters() if w.dim() == 2], lr=0.1)
    options = {"SGD": {"momentum": 0.9}, "AdamW": {"amsgrad": True}}.get(kind, {})
    return getattr(torch.optim, kind)(model.parameters(), lr=0.1, **options)


def train(model: nn.Module, optimizer: Any, steps: int = 3) -> None:
    x = torch.randn(16, 6, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


def zeros(model: Any) -> list[Any]:
    return [model[i].weight == 0 for i in (0, 2)]


def assert_same_zeros(model: Any, before: list[Any]) -> None:
    for now, then in zip(zeros(model), before, strict=True):
        assert torch.equal(now, then)


@pytest.mark.parametrize("kind", ["SGD", "AdamW", "RMSprop", "Adagrad", "Muon"])
def test_training_moves_no_removed_weight(kind: str) -> None:
    model = make_model()
    prune(model, 0.5)
    before, values = zeros(model), [model[i].weight.detach().clone() for i in (0, 2)]
    optimizer = make_optimizer(kind, model)
    train(model, optimizer)
    assert_same_zeros(model, before)
    for i, then, value in zip((0, 2), before, values, strict=True):
        weight = model[i].weight
        assert (weight.grad[then] == 0).all()
        assert not torch.equal(weight, value)


def test_moments_from_before_pruning_move_no_weight() -> None:
    model = make_model()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    train(model, optimizer)
    prune(model, 0.5)
    before = zeros(model)
    train(model, optimizer, 1)
    assert_same_zeros(model, before)
    moments = optimizer.state[model[0].weight]
    for name in ("exp_avg", "exp_avg_sq"):
        assert (moments[name][before[0]] == 0).all()
        assert (moments[name][~before[0]] != 0).any()


def test_gradient_norms_count_kept_weights_alone() -> None:
    """So that clipping is not changed by what is removed."""
    model = make_model()
    prune(model, 0.5)
    model(torch.randn(4, 6)).square().sum().backward()
    want = torch.stack([w.grad.masked_fill(w == 0, 0).norm() for w in model.parameters()]).norm()
    assert torch.allclose(nn.utils.clip_grad_norm_(model.parameters(), 1e9), want)


@pytest.mark.parametrize("way", ["deepcopy", "pickle"])
def test_copies_keep_their_own_zeros(way: str) -> None:
    model = make_model()
    prune(model, 0.5)
    before = zeros(model)
    if way == "deepcopy":
        copied = copy.deepcopy(model)
    else:
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        copied = torch.load(file, weights_only=False)
    train(copied, torch.optim.AdamW(copied.parameters(), lr=0.1))
    assert_same_zeros(copied, before)
    assert not torch.equal(copied[0].weight, model[0].weight)
    release_masks(copied)
    train(copied, torch.optim.AdamW(copied.parameters(), lr=0.1))
    assert not torch.equal(copied[0].weight == 0, before[0])
    train(model, torch.optim.AdamW(model.parameters(), lr=0.1))
    assert_same_zeros(model, before)


def test_deepcopy_works_after_a_forward_and_a_backward_pass() -> None:
    model = make_model()
    prune(model, 0.5)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    copy.deepcopy(model)(torch.ones(1, 6))


def test_copy_of_a_tied_model_is_tied_and_masked_once() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    prune(model, 0.5)
    copied = copy.deepcopy(model)
    assert copied[0].weight is copied[1].weight
    masks = masks_of(copied)
    assert list(masks) == ["0.weight", "1.weight"]
    assert masks["0.weight"] is masks["1.weight"]
    assert masks["0.weight"].weight is copied[0].weight


def test_names_and_values_survive_saving() -> None:
    model = make_model()
    names = list(model.state_dict())
    prune(model, 0.5)
    assert list(model.state_dict()) == names
    loaded = make_model()
    loaded.load_state_dict(model.state_dict())
    before = zeros(model)
    assert_same_zeros(loaded, before)
    keep_zeros(loaded)
    train(loaded, torch.optim.AdamW(loaded.parameters(), lr=0.1))
    assert_same_zeros(loaded, before)


def test_averaged_weights_have_the_same_zeros() -> None:
    model = make_model()
    prune(model, 0.5)
    before = zeros(model)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for _ in range(3):
        train(model, optimizer, 1)
        average.update_parameters(model)
    assert_same_zeros(average.module, before)
    assert not torch.equal(average.module[0].weight, model[0].weight)


def test_mask_follows_dtype_and_frozen_weights() -> None:
    model = make_model()
    model[0].weight.requires_grad_(False)
    prune(model, 0.5)
    model.double()
    before = zeros(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    x = torch.randn(4, 6, dtype=torch.float64)
    model(x).sum().backward()
    optimizer.step()
    assert_same_zeros(model, before)


def test_released_weights_change_again() -> None:
    model = make_model()
    prune(model, 0.5)
    release_masks(model)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    assert all(not zero.any() for zero in zeros(model))
    assert masks_of(model) == {}


def test_mask_does_not_keep_a_model_alive() -> None:
    model = make_model()
    prune(model, 0.5)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1))
    gone = weakref.ref(model[0].weight)
    del model
    gc.collect()
    assert gone() is None


def test_mask_that_does_not_fit_is_an_error() -> None:
    weight = nn.Parameter(torch.ones(2, 3))
    for removed in (torch.ones(3, 2, dtype=torch.bool), torch.ones(2, 3)):
        with pytest.raises(ValueError, match=r"mask must be boolean with shape \(2, 3\), got"):
            Mask(weight, removed)
    layer = nn.Linear(3, 2)
    places = [(layer, "weight")]
    set_mask(layer.weight, places, torch.zeros(2, 3, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask must be boolean with shape"):
        set_mask(layer.weight, places, torch.ones(1, 3, dtype=torch.bool))
    assert layer.weight.count_nonzero() == 6


def test_gradients_are_masked_after_a_weight_is_unfrozen() -> None:
    model = make_model().requires_grad_(False)
    prune(model, 0.5)
    model.requires_grad_(True)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), steps=1)
    model.zero_grad()
    model(torch.ones(2, 6)).sum().backward()
    for i in (0, 2):
        assert (model[i].weight.grad[model[i].weight == 0] == 0).all()
