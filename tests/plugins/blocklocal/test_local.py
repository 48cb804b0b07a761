"""BlockLocal: isolated blocks, the same gradients as one summed loss, an untouched model."""

from __future__ import annotations

import copy
from typing import Any

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor, nn

from evenfall_blocklocal import RULES, BlockLocal, SplitError
from evenfall_blocklocal.families import Bernoulli

SMALL = {"latent": 4, "hidden": 8}
LOCAL = ("bll", "bll-kl", "local-ce", "predsim", "dgl-man")


def make(model: nn.Module, blocks: int = 3, rule: str = "bll", **options: Any) -> BlockLocal:
    torch.manual_seed(5)
    return BlockLocal(
        model, blocks, rule, inputs=options.pop("inputs", torch.randn(2, 5)), **(SMALL | options)
    )


def gradients(local: nn.Module) -> dict[str, Tensor | None]:
    return {
        name: None if p.grad is None else p.grad.clone() for name, p in local.named_parameters()
    }


def assert_same(found: dict[str, Tensor | None], wanted: dict[str, Tensor | None]) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in wanted.items():
        if gradient is None:
            assert found[name] is None, name
        else:
            torch.testing.assert_close(found[name], gradient, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_trains_and_leaves_the_model_as_it_was(make_stack, batch, rule: str) -> None:
    stack = make_stack(3)
    rows, target = batch
    keys, plain = list(stack.state_dict()), stack(rows)
    local = make(stack, rule=rule)
    result = local(rows, target=target)
    torch.testing.assert_close(result.output, plain)
    result.loss.backward()
    assert list(stack.state_dict()) == keys
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in stack.modules())
    trained = [p.grad is not None for p in stack.parameters()]
    assert all(trained[-2:])
    assert all(trained) is (rule != "frozen")
    assert len(result.losses) == 3
    copy.deepcopy(local)  # an exponential moving average copies it
    local.eval()
    assert torch.equal(local(rows), stack(rows))


@pytest.mark.parametrize("rule", LOCAL)
def test_gradients_inside_the_hooks_are_those_of_one_summed_loss(
    make_stack, batch, rule: str
) -> None:
    found = []
    for mode in ("inside", "after"):
        local = make(make_stack(3), rule=rule, backward=mode)
        local(batch[0], target=batch[1]).loss.backward()
        found.append(gradients(local))
    assert_same(*found)


@pytest.mark.parametrize("rule", [rule for rule in LOCAL if not RULES[rule].reads_next])
def test_no_gradient_flows_between_blocks(make_stack, batch, rule: str) -> None:
    """Each block's gradient is that of its own loss alone, and depends on no later weight."""
    local = make(make_stack(3), rule=rule, backward="after")
    result = local(batch[0], target=batch[1])
    names = [name for name, _ in local.model.named_parameters()]
    found = torch.autograd.grad(result.loss, list(local.model.parameters()), allow_unused=True)
    changed = make(make_stack(3), rule=rule, backward="after")
    with torch.no_grad():
        for parameter in changed.blocks_of_parameters()[-1]:
            parameter.add_(1)
    other = torch.autograd.grad(
        changed(batch[0], target=batch[1]).loss, list(changed.model.parameters())
    )
    inner = {name for block in local.split.blocks[:-1] for name in block.parameters}
    equal = {
        n: torch.equal(a, b) for n, a, b in zip(names, found, other, strict=True) if n in inner
    }
    assert equal
    assert all(equal.values()), equal


def test_one_block_is_backpropagation(make_stack, batch) -> None:
    stack, plain = make_stack(3), make_stack(3)
    make(stack, 1)(batch[0], target=batch[1]).loss.backward()
    F.cross_entropy(plain(batch[0]), batch[1]).backward()
    assert_same(gradients(stack), gradients(plain))


def test_backprop_is_backpropagation(make_stack, batch) -> None:
    stack, plain = make_stack(3), make_stack(3)
    make(stack, 3, "backprop")(batch[0], target=batch[1]).loss.backward()
    F.cross_entropy(plain(batch[0]), batch[1]).backward()
    assert_same(gradients(stack), gradients(plain))


def test_gaussian_with_a_linear_head_is_linear_local_cross_entropy(make_stack, batch) -> None:
    """Its scores are the logits of a linear layer with weight b W / sqrt(D) and bias
    (b w - |b|^2 / 2) / sqrt(D), for a head a = W x + w."""
    local = make(make_stack(2), 2, family="gaussian", head_depth=1)
    local(batch[0], target=batch[1])
    first = local.model[0][0].weight.grad.clone()
    head, b = local.rule.heads[0].layers, local.rule.feedback(None, 0, None).detach()
    scale = head.out_features**0.5
    weight = b @ head.weight.detach() / scale
    bias = (b @ head.bias.detach() - b.square().sum(1) / 2) / scale
    plain = make_stack(2)
    F.cross_entropy(F.linear(plain[0](batch[0]), weight, bias), batch[1]).backward()
    torch.testing.assert_close(first, plain[0][0].weight.grad)


def test_the_loss_is_the_cross_entropy_of_the_scores(make_stack, batch) -> None:
    local = make(make_stack(2), 2, agreement=0.3)
    result = local(batch[0], target=batch[1])
    head, link = local.rule.heads[0].layers, local.rule.feedback.links[0]
    local.rule.eval()
    family = Bernoulli()
    norm = head[1]
    hidden = head[0](local.model[0](batch[0]))
    scaled = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + norm.eps).sqrt()
    a, b = head[3](scaled.relu()), link(torch.eye(3))
    wanted = F.cross_entropy(family.scores(a, b), batch[1])
    wanted = wanted + 0.3 * family.agreement(a, b[batch[1]]).mean()
    torch.testing.assert_close(result.losses[0], wanted.detach())


def test_feedback_is_chained_and_each_link_learns_locally(make_stack, batch) -> None:
    local = make(make_stack(3), 4, backward="after")
    local.rule.begin(batch[1])
    first = local.rule.message(0)
    links = local.rule.feedback.links
    torch.testing.assert_close(first, links[0](links[1](links[2](torch.eye(3)))))
    found = torch.autograd.grad(first.sum(), list(links.parameters()), allow_unused=True)
    assert [g is not None for g in found] == [True] * 4 + [False] * 6
    local.rule.end()


def test_gradients_accumulate(make_stack, batch) -> None:
    whole = make(make_stack(3), rule="local-ce", head_depth=1)
    whole(batch[0], target=batch[1]).loss.backward()
    parts = make(make_stack(3), rule="local-ce", head_depth=1)
    parts.scale_loss = lambda loss: loss / 2
    for rows in (slice(0, 6), slice(6, 12)):
        (parts(batch[0][rows], target=batch[1][rows]).loss / 2).backward()
    assert_same(gradients(parts), gradients(whole))


def test_a_scaler_clipping_and_groups_act_as_on_one_loss(make_stack, batch) -> None:
    found = []
    for mode in ("inside", "after"):
        local = make(make_stack(3), backward=mode)
        decay = [p for p in local.parameters() if p.dim() > 1]
        others = [p for p in local.parameters() if p.dim() < 2]
        optimizer = torch.optim.AdamW([{"params": decay}, {"params": others, "weight_decay": 0.0}])
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        local.scale_loss = scaler.scale
        average = torch.optim.swa_utils.AveragedModel(local.model)
        for _ in range(3):
            with torch.autocast("cpu", torch.bfloat16):
                result = local(batch[0], target=batch[1])
            scaler.scale(result.loss).backward()
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(local.parameters(), 0.1)
            scaler.step(optimizer)
            scaler.update()
            optimizer.zero_grad()
            average.update_parameters(local.model)
        found.append(dict(local.named_parameters()) | dict(average.named_parameters()))
    assert_same(*found)


def test_overlapping_blocks_learn_from_two_losses(make_stack, batch) -> None:
    local = make(make_stack(3), 4, "overlap")
    result = local(batch[0], target=batch[1])
    inside = [p.grad.clone() for p in local.model.parameters() if p.grad is not None]
    assert len(inside) == 6  # the fourth block has no loss yet, the third one of its two
    result.loss.backward()
    found = gradients(local.model)
    stack, outputs = make_stack(3), []
    fresh = make(make_stack(3), 4, "overlap").rule
    for index in range(3):  # loss k on blocks k - 1 and k
        start = outputs[index - 2].detach() if index > 1 else batch[0]
        x = start
        for layer in stack[max(index - 1, 0) : index + 1]:
            x = layer(x)
        outputs.append(x)
        logits = fresh.classifiers[index](fresh.heads[index].layers(x))
        F.cross_entropy(logits, batch[1]).backward()
    x = stack[3](stack[2](outputs[1].detach()))
    F.cross_entropy(x, batch[1]).backward()
    assert_same(found, gradients(stack))


def test_feedback_alignment_multiplies_by_random_weights(make_stack, batch) -> None:
    local = make(make_stack(2), 2, "fa")
    local(batch[0], target=batch[1]).loss.backward()
    stack = make_stack(2)
    hidden = stack[0](batch[0])
    second = stack[1](hidden)
    logits = stack[2](second.detach()).detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits, batch[1]), logits)
    inner = (error @ local.rule.feedback_2) * (1 - second.detach().square())
    torch.testing.assert_close(local.model[1][0].weight.grad, inner.t() @ hidden.detach())
    outer = (inner @ local.rule.feedback_1) * (1 - hidden.detach().square())
    torch.testing.assert_close(local.model[0][0].weight.grad, outer.t() @ batch[0])


class Conv1D(nn.Module):
    """As in transformers: a linear layer with a transposed weight."""

    def __init__(self, nf: int, nx: int) -> None:
        super().__init__()
        self.nf, self.weight = nf, nn.Parameter(torch.randn(nx, nf))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_feedback_alignment_exchanges_transposed_weights_and_refuses_unknown_ones(batch) -> None:
    model = nn.Sequential(nn.Linear(5, 4), Conv1D(3, 4))
    local = make(model, 2, "fa")
    local(batch[0], target=batch[1]).loss.backward()
    logits = model(batch[0]).detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits, batch[1]), logits)
    expected = (error @ local.rule.feedback_1.t()).t() @ batch[0]
    torch.testing.assert_close(model[0].weight.grad, expected)
    other = type("Standardised", (nn.Linear,), {})(4, 3)
    with pytest.raises(ValueError, match="'1' is a Standardised with a weight matrix"):
        make(nn.Sequential(nn.Linear(5, 4), other), 2, "fa")


def test_direct_feedback_alignment_projects_the_error(make_stack, batch) -> None:
    local = make(make_stack(2), 3, "dfa")
    local(batch[0], target=batch[1])
    late = make(make_stack(2), 3, "dfa", backward="after")
    late.rule.load_state_dict(local.rule.state_dict())
    result = late(batch[0], target=batch[1])
    result.loss.backward()
    assert result.losses[:-1] == (None, None)
    torch.testing.assert_close(result.loss, F.cross_entropy(result.output, batch[1]))
    torch.testing.assert_close(late.model[0][0].weight.grad, local.model[0][0].weight.grad)
    logits = local.model(batch[0]).detach().requires_grad_()
    (error,) = torch.autograd.grad(F.cross_entropy(logits, batch[1]), logits)
    hidden = local.model[0](batch[0]).detach()
    wanted = ((error @ local.rule.matrix_0) * (1 - hidden.square())).t() @ batch[0]
    torch.testing.assert_close(local.model[0][0].weight.grad, wanted)


def test_the_moving_average_follows_the_next_layer(make_stack, batch) -> None:
    local = make(make_stack(3), 3, "dgl-man", momentum=0.5)
    before = local.rule.copies[0].weight.clone()
    with torch.no_grad():
        local.model[1][0].weight.add_(2)
    local(batch[0], target=batch[1])
    torch.testing.assert_close(local.rule.copies[0].weight, before + 1)
    assert not local.rule.copies[0].weight.requires_grad


def test_bootstrapping_feeds_the_posterior(make_stack, batch) -> None:
    seen = []
    local = make(make_stack(2), 2, head_depth=0, bootstrap=0.5)
    local.model[1].register_forward_pre_hook(lambda module, args: seen.append(args[0].clone()))
    local(batch[0], target=batch[1])
    b = local.rule.feedback(None, 0, None)[batch[1]]
    torch.testing.assert_close(seen[0], local.model[0](batch[0]) + 0.5 * b)
    local.eval()
    local(batch[0])
    torch.testing.assert_close(seen[1], local.model[0](batch[0]))


def test_bootstrapping_a_class_token_is_refused_at_once() -> None:
    class Tokens(nn.Module):
        num_prefix_tokens = 1

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x))[:, 0]

    options = {"inputs": torch.randn(2, 5, 4), "bootstrap": 0.1, "head_depth": 0}
    with pytest.raises(ValueError, match="bootstrap does not support features with a class token"):
        make(Tokens(), 2, **options)


@pytest.mark.parametrize("rule", RULES)
def test_a_target_that_only_the_criterion_reads_is_not_checked(make_stack, batch, rule) -> None:
    local = make(make_stack(3), rule=rule, criterion=lambda output, target: (output**target).mean())
    powers = torch.full((12, 1, 1), 2)
    if rule in ("backprop", "frozen", "dfa", "fa"):
        local(batch[0], target=powers).loss.backward()
    else:
        with pytest.raises(ValueError, match="target of task 'classes' must be"):
            local(batch[0], target=powers)


def test_random_numbers_of_a_block_depend_on_seed_step_and_block(batch) -> None:
    def draws(seed: int | None, state: int) -> list[Tensor]:
        torch.manual_seed(9)
        model = nn.Sequential(
            nn.Linear(5, 6), nn.Dropout(), nn.Linear(6, 6), nn.Dropout(), nn.Linear(6, 3)
        )
        local = make(model, 3, seed=seed)
        torch.manual_seed(state)
        return [local(batch[0], target=batch[1]).output for _ in range(2)]

    first, again, other = draws(1, 0), draws(1, 7), draws(2, 0)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first[0], other[0])
    assert not torch.equal(draws(None, 0)[0], draws(None, 7)[0])


class InPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        y *= 3
        return self.b(y)


def test_an_output_changed_in_place_gives_the_same_gradients() -> None:
    found = []
    rows, target = torch.randn(6, 5), torch.randint(3, (6,))
    for mode in ("inside", "after"):
        local = make(InPlace(), 2, backward=mode)
        local(rows, target=target).loss.backward()
        found.append(gradients(local))
    assert_same(*found)


def test_overlapping_blocks_may_change_an_output_in_place(batch) -> None:
    local, plain = make(InPlace(), 2, "overlap"), InPlace()
    local(batch[0], target=batch[1]).loss.backward()
    hidden = plain.a(batch[0])
    head = local.rule.classifiers[0](local.rule.heads[0].layers(hidden))
    F.cross_entropy(head, batch[1]).backward()
    F.cross_entropy(plain.b(3 * plain.a(batch[0])), batch[1]).backward()
    assert_same(gradients(local.model), gradients(plain))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rule": "hebb"}, "rule must be one of"),
        ({"backward": "later"}, "backward must be one of"),
        (
            {"rule": "overlap", "backward": "after"},
            "'overlap' needs backward='inside', got 'after'",
        ),
        ({"task": "ranks"}, "task must be one of"),
        ({"family": "poisson"}, "family must be one of"),
        ({"feedback": "none"}, "feedback must be one of"),
        ({"latents": 4}, "unknown option 'latents'. Closest: 'latent'"),
        ({"latent": 0}, "latent must be an integer of at least 1"),
        ({"latent": 2.5}, "latent must be an integer of at least 1"),
        ({"grid": (2, 0)}, r"grid\[1\] must be an integer of at least 1, got 0"),
        ({"grid": 2}, "grid must be two positive integers"),
        ({"agreement": float("nan")}, "agreement must be at least 0 and finite, got nan"),
        ({"momentum": 2.0}, "momentum must be from 0 to 1, got 2.0"),
        ({"bootstrap": 0.1}, "head_depth must be 0"),
        ({"agreement": -1.0}, "agreement must be at least 0 and finite, got -1.0"),
        ({"head_depth": 3}, "head_depth must be an integer of at least 0 and below 3, got 3"),
        ({"similarity": "high"}, "similarity must be from 0 to 1, got 'high'"),
        ({"rule": "frozen", "head_depth": 7}, "head_depth must be an integer"),
        ({"family": "categorical", "latent": 6}, "multiple of the 8 states .* got 6"),
        ({"task": "tokens", "bootstrap": 0.1, "head_depth": 0}, "bootstrap supports one target"),
    ],
)
def test_wrong_options_are_named(make_stack, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(make_stack(), **arguments)


def test_a_batch_of_one_is_refused_where_a_head_has_batchnorm(make_stack, batch) -> None:
    with pytest.raises(ValueError, match="a batch of one sample"):
        make(make_stack())(batch[0][:1], target=batch[1][:1])
    make(make_stack(), head_depth=1)(batch[0][:1], target=batch[1][:1]).loss.backward()


def test_a_block_without_trainable_parameters_is_refused(make_stack) -> None:
    stack = make_stack(3)
    stack[0].requires_grad_(False)
    with pytest.raises(SplitError, match="cannot be cut after '0'"):
        make(stack, None, boundaries=["0", "1"])


def test_gradients_cleared_before_backward_are_an_error(make_stack, batch) -> None:
    local = make(make_stack(3))
    result = local(batch[0], target=batch[1])
    local.zero_grad()
    with pytest.raises(RuntimeError, match="gradients were cleared between the forward pass"):
        result.loss.backward()


def test_the_parts_between_boundaries_can_be_compiled(make_stack, batch) -> None:
    found = []
    for is_compiled in (False, True):
        local = make(make_stack(3))
        if is_compiled:
            local.compile_parts(backend="eager")
        local(batch[0], target=batch[1]).loss.backward()
        found.append(gradients(local))
    assert_same(*found)


def test_a_model_wrapped_for_data_parallelism_is_refused(make_stack) -> None:
    wrapped = nn.DataParallel(make_stack(3))
    with pytest.raises(ValueError, match="must not be wrapped by DataParallel"):
        make(wrapped)


def test_a_model_sharded_by_fsdp_is_refused(make_stack) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.distributed.init_process_group(
        "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
    )
    try:
        model = make_stack(3)
        fully_shard(model[0], mesh=init_device_mesh("cpu", (1,)))
        with pytest.raises(ValueError, match="must not be sharded by FSDP"):
            make(model)
    finally:
        torch.distributed.destroy_process_group()


def test_a_failed_call_leaves_no_hooks(make_stack, batch) -> None:
    local = make(make_stack(3))
    with pytest.raises(RuntimeError):
        local(torch.randn(4, 7), target=batch[1][:4])
    assert not any(module._forward_hooks for module in local.model.modules())
    local(batch[0], target=batch[1]).loss.backward()


def test_heads_have_the_type_of_the_model(make_stack, batch) -> None:
    local = make(make_stack().double(), inputs=torch.randn(2, 5).double())
    result = local(batch[0].double(), target=batch[1])
    assert {loss.dtype for loss in result.losses} == {torch.float64}


def test_a_training_call_without_gradients_is_refused(make_stack, batch) -> None:
    local = make(make_stack())
    with torch.no_grad(), pytest.raises(RuntimeError, match=r"call eval\(\) to test"):
        local(batch[0], target=batch[1])
    assert all(p.grad is None for p in local.parameters())


def test_any_seed_is_allowed(make_stack, batch) -> None:
    for seed in (2**40, -1):
        make(make_stack(), seed=seed)(batch[0], target=batch[1])


def test_a_split_is_used_for_the_same_model_alone_and_without_other_choices(make_stack) -> None:
    local = make(make_stack())
    again = BlockLocal(make_stack(), local.split, **SMALL)
    assert again.split.boundaries == local.split.boundaries
    with pytest.raises(SplitError, match="of another model"):
        BlockLocal(nn.Sequential(nn.Linear(5, 3)), local.split)
    with pytest.raises(ValueError, match="have no effect"):
        BlockLocal(make_stack(), local.split, balance="macs")


def test_a_copy_of_a_compiled_model_uses_its_own_weights(make_stack, batch) -> None:
    local = make(make_stack())
    local.compile_parts(backend="eager")
    twin = copy.deepcopy(local)
    with torch.no_grad():
        for parameter in twin.model.parameters():
            parameter.add_(1)
    plain = make_stack()
    plain.load_state_dict(twin.model.state_dict())
    assert torch.equal(twin.model(batch[0]), plain(batch[0]))


def test_the_whole_can_be_compiled_if_losses_are_summed_after_it(make_stack, batch) -> None:
    torch._dynamo.reset()
    found = []
    for is_compiled in (False, True):
        local = make(make_stack(3), backward="after")
        counter = torch._dynamo.testing.CompileCounter()
        call = torch.compile(local, backend=counter) if is_compiled else local
        call(batch[0], target=batch[1]).loss.backward()
        found.append(gradients(local))
    assert_same(*found)
    assert counter.frame_count >= 1
