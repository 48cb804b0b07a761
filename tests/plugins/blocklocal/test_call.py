"""What a training call refuses, and parts of a model that are frozen or of another type."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall_blocklocal import BlockLocal, check_leaks
from evenfall_blocklocal.features import Features, FeatureShape, pool_samples
from evenfall_blocklocal.processes import explain_plan

X, Y = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])


def make(rule: str = "bll", **options: Any) -> BlockLocal:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 3))
    return BlockLocal(model, boundaries=["1", "3"], rule=rule, inputs=X, latent=4, hidden=8,
                      **options)  # fmt: skip


def gradients(local: BlockLocal) -> dict[str, Any]:
    local(X, target=Y).loss.backward()
    return {name: p.grad for name, p in local.named_parameters()}


def test_a_loss_that_is_scaled_alone_is_refused() -> None:
    local = make()
    loss = local(X, target=Y).loss
    with pytest.raises(RuntimeError, match=r"multiplied by 0.5 .* before the last by 1: set local"):
        (loss / 2).backward()
    local.scale_loss = lambda one: one / 2
    (local(X, target=Y).loss / 2).backward()
    with pytest.raises(RuntimeError, match=r"multiplied by 1 .* by 0.5"):
        local(X, target=Y).loss.backward()
    (make("backprop")(X, target=Y).loss / 2).backward()  # there is no other loss
    (make(backward="after")(X, target=Y).loss / 2).backward()


@pytest.mark.parametrize("rule", ["bll", "local-ce", "predsim", "dgl-man"])
def test_a_frozen_last_block_leaves_the_others_their_gradients(rule: str) -> None:
    found = []
    for backward in ("inside", "after"):
        local = make(rule, backward=backward)
        local.model[4].requires_grad_(False)
        found.append(gradients(local))
    for name, gradient in found[1].items():
        if gradient is None:
            assert found[0][name] is None, name
        else:
            torch.testing.assert_close(found[0][name], gradient, msg=name)


def test_frozen_blocks_and_heads_need_no_backward_pass() -> None:
    local = make()
    local.model[0].requires_grad_(False)
    local.rule.requires_grad_(False)
    found = gradients(local)
    assert found["model.0.weight"] is None
    assert found["model.2.weight"] is not None
    direct = make("dfa")
    direct.model[0].requires_grad_(False)
    assert gradients(direct)["model.2.weight"] is not None
    direct.model[4].requires_grad_(False)
    with pytest.raises(ValueError, match="needs a last block that is not frozen"):
        gradients(direct)


def test_a_model_of_another_type_or_width_since_the_split() -> None:
    local = make(feedback="direct").double()
    check_leaks(local.model, local.split)
    assert not explain_plan(local, 2)
    local = make()
    local.model[4] = nn.Linear(6, 7)
    with pytest.raises(ValueError, match="has 7 outputs now, but had 3"):
        local(X, target=Y)


def test_a_criterion_is_a_function_that_returns_one_number() -> None:
    with pytest.raises(TypeError, match="criterion must be callable, got str"):
        make(criterion="ce")
    with pytest.raises(TypeError, match=r"criterion must return .* one number, got \(4,\)"):
        make(criterion=nn.CrossEntropyLoss(reduction="none"))(X, target=Y)
    with pytest.raises(TypeError, match="got float"):
        make(criterion=lambda output, target: 1.0)(X, target=Y)


def test_a_mask_of_pairs_of_tokens_is_refused() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.BertConfig(
        vocab_size=20, hidden_size=8, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=8,
    )  # fmt: skip
    local = BlockLocal(transformers.BertForSequenceClassification(config), 2, latent=4, hidden=8)
    ids = torch.randint(20, (2, 6))
    mask = torch.ones(2, 1, 6, 6, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"attention_mask must be \(batch, tokens\)"):
        local(input_ids=ids, attention_mask=mask, labels=torch.tensor([0, 1]))


@pytest.mark.parametrize("layout", ["nlc", "ncl"])
def test_a_mask_of_another_number_of_tokens_is_refused_where_it_leaves_some_out(layout) -> None:
    x = torch.randn(2, 3, 4)
    values = x if layout == "nlc" else x.transpose(1, 2)
    shape = FeatureShape(layout, 4)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    wanted = torch.stack([x[0, :2].mean(0), x[1, 0]])
    torch.testing.assert_close(pool_samples(Features(values, mask=mask), shape, (1, 1)), wanted)
    longer = torch.ones(2, 6, dtype=torch.long)
    found = pool_samples(Features(values, mask=longer), shape, (1, 1))
    torch.testing.assert_close(found, x.mean(1))
    longer[0, 5] = 0
    with pytest.raises(ValueError, match=r"a block's output, \(2, 3\), .* got shape \(2, 6\)"):
        pool_samples(Features(values, mask=longer), shape, (1, 1))
