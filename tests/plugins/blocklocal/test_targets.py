"""Kinds of targets: losses against direct formulas, and what trains."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

import torch.nn.functional as F
from torch import Tensor, nn

from evenfall_blocklocal import BlockLocal
from evenfall_blocklocal.families import Bernoulli, Gaussian
from evenfall_blocklocal.outputs import guess_task
from evenfall_blocklocal.targets import ClassTargets, TokenTargets, make_targets

BERNOULLI, GAUSSIAN = Bernoulli(), Gaussian()


def test_probabilities_as_of_mixup_are_targets() -> None:
    targets = make_targets("classes", 3)
    a, b, index = torch.randn(4, 6), torch.randn(3, 6), torch.tensor([0, 2, 1, 1])
    soft = F.one_hot(index, 3).float()
    hard = targets.score_loss(BERNOULLI, a, b, index)
    torch.testing.assert_close(targets.score_loss(BERNOULLI, a, b, soft), hard)
    torch.testing.assert_close(targets.of_target(b, soft), targets.of_target(b, index))


def test_a_prior_is_added_to_the_scores() -> None:
    prior = torch.tensor([0.7, 0.2, 0.1]).log()
    targets = ClassTargets(3, prior)
    a, b, index = torch.randn(4, 6), torch.randn(3, 6), torch.tensor([0, 2, 1, 1])
    wanted = F.cross_entropy(BERNOULLI.scores(a, b) + prior, index)
    torch.testing.assert_close(targets.score_loss(BERNOULLI, a, b, index), wanted)


def test_causal_targets_are_shifted_and_ignored_ones_left_out() -> None:
    targets = TokenTargets(9, causal=True)
    output = torch.arange(12.0).reshape(2, 3, 2)
    rows, chosen = targets.rows(output, torch.tensor([[1, 2, -100], [4, -100, 6]]))
    assert chosen.tolist() == [2, 6]
    assert torch.equal(rows, output[[0, 1], [0, 1]])
    plain, same = TokenTargets(9, causal=False).rows(output, torch.tensor([[1, 2, -100]] * 2))
    assert (len(plain), same.tolist()) == (4, [1, 2, 1, 2])
    with pytest.raises(ValueError, match=r"have shape \(2, 4\), but the features have \(2, 3\)"):
        targets.rows(output, torch.zeros(2, 4, dtype=torch.long))


@pytest.mark.parametrize("family", [BERNOULLI, GAUSSIAN])
def test_sampled_classes_are_all_classes_if_all_are_drawn(family) -> None:
    a, b = torch.randn(5, 4), torch.randn(1500, 4)
    index = torch.randint(1500, (5,))
    wanted = F.cross_entropy(family.scores(a, b), index)
    for samples in (1495, 40_000):
        targets = TokenTargets(1500, causal=False, samples=samples)
        drawn = targets.draw(index, family)
        assert sorted(drawn.classes.tolist()) == [*range(1500)]
        assert torch.equal(drawn.classes[drawn.target], index)
        found = targets.score_loss(family, a, b[drawn.classes], drawn.target, drawn.offset)
        torch.testing.assert_close(found, wanted)
    assert TokenTargets(1500, causal=False).draw(index, GAUSSIAN) is None
    assert len(TokenTargets(1500, causal=False).draw(index, BERNOULLI).classes) <= 256 + 5
    assert TokenTargets(1000, causal=False).draw(index % 1000, BERNOULLI) is None


def test_sampled_classes_estimate_the_normaliser_of_all_without_bias() -> None:
    targets = TokenTargets(60, causal=False, samples=20)
    a, b = torch.randn(4, 3, dtype=torch.float64), torch.randn(60, 3, dtype=torch.float64)
    index = torch.tensor([7, 7, 0, 59])
    wanted = BERNOULLI.scores(a, b).exp().sum(1)
    torch.manual_seed(0)
    sums = torch.zeros_like(wanted)
    for _ in range(2000):
        drawn = targets.draw(index)
        assert len(drawn.classes.unique()) == 3 + 20
        sums += (BERNOULLI.scores(a, b[drawn.classes]) + drawn.offset).exp().sum(1)
    torch.testing.assert_close(sums / 2000, wanted, rtol=0.05, atol=0)


@pytest.mark.parametrize("rule", ["bll", "local-ce"])
@pytest.mark.parametrize("feedback", ["chained", "direct"])
def test_a_block_that_samples_every_token_has_the_gradients_of_all(
    rule: str, feedback: str
) -> None:
    ids, target = torch.randint(7, (3, 5)), torch.randint(4, (3, 5))
    target[0, 0] = -100
    torch.manual_seed(0)
    model = Tagger()
    found = []
    for samples in (None, 4):
        local = BlockLocal(
            model, 3, rule, inputs=ids, latent=4, hidden=8, feedback=feedback, samples=samples
        )
        local.rule.load_state_dict(found[0][0]) if found else None
        result = local(ids, target=target)
        result.loss.backward()
        gradients = {name: p.grad.clone() for name, p in local.named_parameters()}
        found.append((local.rule.state_dict(), gradients))
        local.zero_grad()
    for name, gradient in found[0][1].items():
        torch.testing.assert_close(found[1][1][name], gradient)


def test_samples_of_a_task_without_tokens_are_refused(make_stack, batch) -> None:
    with pytest.raises(ValueError, match="samples is an option of targets of tokens"):
        BlockLocal(make_stack(2), 2, inputs=batch[0], samples=10)


def test_labels_are_problems_of_two_classes() -> None:
    targets = make_targets("labels", 3)
    a, b = torch.randn(4, 6), torch.randn(6, 6)
    chosen = torch.randint(2, (4, 3))
    wanted = torch.stack(
        [F.cross_entropy(BERNOULLI.scores(a, b[2 * i : 2 * i + 2]), chosen[:, i]) for i in range(3)]
    ).mean()
    torch.testing.assert_close(targets.score_loss(BERNOULLI, a, b, chosen), wanted)
    own = torch.stack([sum(b[2 * i + chosen[n, i]] for i in range(3)) for n in range(4)])
    torch.testing.assert_close(targets.of_target(b, chosen), own)


def test_regression_is_normalised_over_the_batch_and_equal_targets_share() -> None:
    targets = make_targets("regression", 1)
    values = torch.tensor([0.5, 2.0, 0.5])
    a, b = torch.randn(3, 6), torch.randn(3, 6)
    scores = BERNOULLI.scores(a, b).log_softmax(1)
    wanted = -torch.stack([scores[0, [0, 2]].mean(), scores[1, 1], scores[2, [0, 2]].mean()]).mean()
    torch.testing.assert_close(targets.score_loss(BERNOULLI, a, b, values), wanted)
    assert targets.encode(values).shape == (3, 1)


@pytest.mark.parametrize("task", ["classes", "labels", "regression"])
@pytest.mark.parametrize("rule", ["bll", "local-ce", "predsim"])
def test_tasks_train(make_stack, batch, task: str, rule: str) -> None:
    rows, classes = batch
    target = {
        "classes": classes,
        "labels": F.one_hot(classes, 3),
        "regression": rows[:, :3] * 2,
    }[task]
    torch.manual_seed(1)
    local = BlockLocal(
        make_stack(3), 3, rule, task=task, inputs=rows[:2], latent=8, hidden=16, seed=0
    )
    optimizer = torch.optim.Adam(local.parameters(), 0.02)
    losses = []
    for _ in range(25):
        result = local(rows, target=target)
        result.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(torch.stack([loss for loss in result.losses if loss is not None]))
    assert (losses[-1] < losses[0]).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_values_are_regressed_in_the_type_of_the_model(make_stack, batch, dtype) -> None:
    stack, rows = make_stack(3).to(dtype), batch[0].to(dtype)
    local = BlockLocal(stack, 3, task="regression", inputs=rows[:2], latent=4, hidden=8)
    result = local(rows, target=batch[0][:, :3] / 3)
    result.loss.backward()
    assert all(p.grad is not None for p in local.parameters())
    wanted = F.mse_loss(stack(rows).double(), batch[0][:, :3].double() / 3)
    torch.testing.assert_close(result.losses[-1].double(), wanted, rtol=1e-6, atol=0)


class Tagger(nn.Module):
    """Predicts a tag for each token."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True) for _ in range(2)
        )
        self.out = nn.Linear(6, 4)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for layer in self.layers:
            x = layer(x)
        return self.out(x)


def test_a_model_that_predicts_at_each_token_has_targets_of_tokens() -> None:
    ids = torch.randint(7, (3, 5))
    local = BlockLocal(Tagger(), 3, inputs=ids, latent=4, hidden=8)
    assert local.task == "tokens"
    target = torch.randint(4, (3, 5))
    target[0, 0] = -100
    local(ids, target=target).loss.backward()
    assert all(p.grad is not None for p in local.parameters())


def test_graphs_are_pooled_and_empty_ones_are_zero() -> None:
    stream = pytest.importorskip("evenfall_stream")
    torch.manual_seed(0)
    model = stream.StreamClassifier(4, width=12, depth=3, groups=8, neighbors=4, head=(8,))
    local = BlockLocal(model, 3, latent=4, hidden=8)
    pos, batch = torch.randn(96, 3), torch.arange(3).repeat_interleave(32)
    local(pos, batch, target=torch.tensor([0, 1, 3])).loss.backward()
    assert all(p.grad is not None for p in local.parameters())
    with pytest.raises(ValueError, match="target has 2 rows, but the model has 3 samples"):
        local(pos, batch, target=torch.tensor([0, 1]))
    events = stream.EventStreamClassifier(3, (8, 8), widths=(8, 12), depths=(1, 1), strides=(4, 2))
    local = BlockLocal(events, 2, latent=4, hidden=8)
    args, _ = local.split.call
    result = local(*args, target=torch.tensor([0, 2]))
    result.loss.backward()
    assert all(p.grad is not None for p in local.parameters())


def test_egru_language_models_learn_in_blocks() -> None:
    egru = pytest.importorskip("evenfall_egru")
    torch.manual_seed(0)
    config = egru.EgruConfig(vocab_size=30, embedding_size=8, hidden_sizes=[12, 12, 8])
    local = BlockLocal(egru.EgruForCausalLM(config), 3, tied="last", latent=8, hidden=16)
    ids = torch.randint(30, (2, 10))
    optimizer = torch.optim.Adam(local.parameters(), 0.01)
    losses = []
    for _ in range(15):
        result = local(input_ids=ids, labels=ids)
        result.loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(torch.stack(list(result.losses)))
    assert (losses[-1] < losses[0]).all()


def test_a_tuple_that_begins_with_the_loss_is_read() -> None:
    class Classifier(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(5, 6), nn.Linear(6, 3)

        def forward(self, x: Tensor, labels: Tensor | None = None) -> tuple[Tensor, ...]:
            logits = self.last(self.first(x))
            return (logits,) if labels is None else (F.cross_entropy(logits, labels), logits)

    rows, labels = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    local = BlockLocal(Classifier(), 2, inputs=rows, latent=4, hidden=8)
    result = local(rows, labels=labels)
    torch.testing.assert_close(result.losses[-1], result.output[0])


@pytest.mark.parametrize(
    ("task", "target", "wanted"),
    [
        ("classes", torch.full((12,), 3), "from 0 to 2, got 3 to 3"),
        ("classes", torch.full((12,), -100), "from 0 to 2, got -100 to -100"),
        ("classes", torch.zeros(12, 1, dtype=torch.long), r"class indices, got int64 .*\(12, 1\)"),
        ("classes", torch.ones(12, 3), "task='labels'"),
        ("classes", torch.zeros(0, dtype=torch.long), r"got int64 of shape \(0,\)"),
        ("classes", torch.zeros(5, dtype=torch.long), "target has 5 rows, but the model has 12"),
        ("classes", torch.tensor(1), "a row for each sample"),
        ("labels", torch.full((12, 3), 2), "values from 0 to 1"),
        ("labels", torch.zeros(12, 2), r"\(batch, 3\) zeros and ones"),
        ("regression", torch.zeros(12), r"\(batch, 3\) values, got float32 of shape \(12,\)"),
        ("regression", torch.zeros(6, 6), r"\(batch, 3\) values"),
        ("regression", torch.full((12, 3), float("nan")), "finite values"),
        ("tokens", torch.full((12,), -100), "at least one that is not -100"),
        ("tokens", torch.full((12,), 3), "from 0 to 2"),
    ],
)
@pytest.mark.parametrize("rule", ["bll", "frozen"])
def test_targets_that_do_not_fit_are_refused(
    make_stack, batch, task: str, target: Tensor, wanted: str, rule: str
) -> None:
    local = BlockLocal(
        make_stack(2), 2, rule, task=task, inputs=batch[0], latent=4, hidden=8, family="gaussian"
    )
    with pytest.raises(ValueError, match=wanted):
        local(batch[0], target=target)


def test_any_integer_type_gives_classes(make_stack, batch) -> None:
    local = BlockLocal(make_stack(2), 2, inputs=batch[0], latent=4, hidden=8)
    expected = [float(x) for x in local(batch[0], target=batch[1]).losses]
    for dtype in (torch.int32, torch.uint8):
        found = local(batch[0], target=batch[1].to(dtype)).losses
        assert [float(x) for x in found] == expected


def test_many_classes_are_scored_by_the_gaussian_family(batch) -> None:
    for outputs, family in ((1000, Bernoulli), (1001, Gaussian)):
        model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, outputs))
        local = BlockLocal(model, 2, inputs=batch[0], latent=4, hidden=8)
        assert type(local.rule.family) is family


def test_similarity_of_one_value_is_refused(batch) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="'predsim' needs a model with at least 2 outputs"):
        BlockLocal(model, 2, "predsim", task="regression", inputs=batch[0])


def test_classes_of_one_output_are_refused(batch) -> None:
    model = nn.Sequential(nn.Linear(5, 4), nn.Linear(4, 1))
    with pytest.raises(ValueError, match="at least 2 outputs"):
        BlockLocal(model, 2, inputs=batch[0])


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"num_labels": 1}, "regression"),
        ({"problem_type": "multi_label_classification", "num_labels": 3}, "labels"),
        ({"num_labels": 3}, "classes"),
    ],
)
def test_the_configuration_of_a_transformers_model_gives_the_task(config, task: str) -> None:
    output = torch.zeros(2, config["num_labels"])
    assert guess_task(output, SimpleNamespace(**config)) == task
