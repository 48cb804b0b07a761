"""prune(): counts, scopes, choice of matrices, methods, errors."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.utils import parametrizations

from evenfall_kernels import StoredMatrix
from evenfall_sparsity import keep_zeros, prune


def make_mlp(*sizes: int, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class Tied(nn.Module):
    """A language model whose decoder is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.body = nn.GRU(6, 6, batch_first=True)
        self.head = nn.Linear(6, 11)
        self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        return self.head(self.body(self.embed(ids))[0])


def zeros(weight: Any) -> int:
    return int((weight == 0).sum())


@pytest.mark.parametrize("amount", [0, 0.3, 0.5, 0.77, 1])
def test_global_count_is_exact(amount: float) -> None:
    model = make_mlp(7, 9, 5)
    result = prune(model, amount)
    want = round(amount * (63 + 45))
    assert (result.zeros, result.weights) == (want, 108)
    assert zeros(model[0].weight) + zeros(model[2].weight) == want
    assert zeros(model[0].bias) == 0


def test_global_scope_removes_the_smallest_of_all() -> None:
    model = make_mlp(7, 9, 5)
    with torch.no_grad():
        model[2].weight.mul_(100)
    prune(model, 0.5)
    assert (zeros(model[0].weight), zeros(model[2].weight)) == (54, 0)


def test_layer_scope_removes_the_same_share_of_each() -> None:
    model = make_mlp(7, 9, 5)
    with torch.no_grad():
        model[2].weight.mul_(100)
    prune(model, 0.5, scope="layer")
    assert (zeros(model[0].weight), zeros(model[2].weight)) == (round(31.5), round(22.5))


def test_equal_weights_are_counted_exactly() -> None:
    model = make_mlp(7, 9, 5)
    for weight in (model[0].weight, model[2].weight):
        nn.init.constant_(weight, 0.5)
    assert prune(model, 0.61).zeros == round(0.61 * 108)
    half = make_mlp(7, 9, 5).to(torch.bfloat16)
    assert prune(half, 0.61).zeros == round(0.61 * 108)


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_recurrent_networks_are_pruned(kind: Any) -> None:
    torch.manual_seed(0)
    model = kind(5, 6, num_layers=2, bidirectional=True, batch_first=True)
    x = torch.randn(2, 4, 5)
    before = model(x)[0]
    result = prune(model, 0.9)
    weights = [w for name, w in model.named_parameters() if name.startswith("weight")]
    assert len(result.matrices) == len(weights) == 8
    assert sum(zeros(w) for w in weights) == round(0.9 * sum(w.numel() for w in weights))
    other = kind(5, 6, num_layers=2, bidirectional=True, batch_first=True)
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(x)[0], other(x)[0])
    assert not torch.equal(model(x)[0], before)


@pytest.mark.parametrize("block", [(1, 4), (2, 3), (4, 1)])
def test_blocks_are_removed_whole_and_their_number_is_exact(block: tuple[int, int]) -> None:
    torch.manual_seed(0)
    model = nn.GRU(8, 6)
    prune(model, 0.5, block=block)
    r, c = block
    removed = total = 0
    for weight in (model.weight_ih_l0, model.weight_hh_l0):
        inputs = weight.shape[1]
        for gate in weight.detach().chunk(3):
            for p in range(0, inputs, r):
                for q in range(0, 6, c):
                    part = gate[q : q + c, p : p + r] == 0
                    assert part.all() or not part.any()
                    removed, total = removed + int(part.all()), total + 1
    assert removed == round(0.5 * total)


def test_blocks_with_the_smallest_norm_are_removed() -> None:
    model = nn.Linear(2, 4, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[3.0, 1], [4, 1], [1, 7], [1, 0]]))
    prune(model, 0.5, block=(1, 2))  # norms: 5 and 1.4 of input 1, 1.4 and 7 of input 2
    assert model.weight.tolist() == [[3, 0], [4, 0], [0, 7], [0, 0]]


def test_tied_weights_are_pruned_once_and_stay_tied() -> None:
    model = Tied()
    assert [one.name for one in prune(model, 0.5).matrices] == [
        "body.weight_ih_l0",
        "body.weight_hh_l0",
    ]
    assert zeros(model.embed.weight) == 0
    result = prune(model, 0.5, include=["head.weight", "embed.*"])
    assert [(one.name, one.zeros) for one in result.matrices] == [("head.weight", 33)]
    assert model.head.weight is model.embed.weight
    assert list(model.state_dict()) == list(Tied().state_dict())


def test_tied_matrix_is_excluded_by_any_of_its_names() -> None:
    model = Tied()
    with pytest.raises(ValueError, match="leave no matrix"):
        prune(model, 0.5, include="head.weight", exclude="embed.weight")


def test_include_and_exclude_are_patterns_of_names() -> None:
    model = make_mlp(4, 4, 4, 4)
    prune(model, 1.0, include=["0.*", "2.*"], exclude="2.weight")
    assert [zeros(model[i].weight) for i in (0, 2, 4)] == [16, 0, 0]


def test_pruning_further_keeps_the_zeros() -> None:
    model = make_mlp(7, 9, 5)
    prune(model, 0.5)
    first = model[0].weight == 0
    prune(model, 0.8, method="random")
    assert (model[0].weight == 0)[first].all()
    assert prune(model, 0.3).zeros == round(0.8 * 108)


def test_random_depends_on_the_seed_alone() -> None:
    def removed(seed: int) -> Any:
        model = make_mlp(7, 9, 5)
        prune(model, 0.5, method="random", seed=seed)
        return model[0].weight == 0

    assert torch.equal(removed(1), removed(1))
    assert not torch.equal(removed(1), removed(2))


def test_wanda_multiplies_by_the_norm_of_each_input() -> None:
    model, x = make_mlp(3, 4, 2), torch.randn(5, 3)
    hidden = torch.relu(x @ model[0].weight.T + model[0].bias).detach()
    want = model[2].weight.detach().abs() * hidden.norm(dim=0)
    prune(model, 0.5, method="wanda", batches=[(x[:2],), (x[2:],)], include="2.weight")
    order = want.flatten().argsort()
    assert sorted((model[2].weight == 0).flatten().nonzero().flatten().tolist()) == sorted(
        order[:4].tolist()
    )


def test_wanda_sees_the_states_of_a_recurrent_network() -> None:
    torch.manual_seed(0)
    model, x = nn.GRU(3, 4, batch_first=True), torch.randn(2, 6, 3)
    y = model(x)[0].detach()
    before = torch.cat([torch.zeros(2, 1, 4), y[:, :-1]], 1)
    want = model.weight_hh_l0.detach().abs() * before.norm(dim=(0, 1))
    prune(model, 0.25, method="wanda", batches=[x], include="weight_hh_l0")
    assert torch.equal(model.weight_hh_l0 == 0, want <= want.flatten().sort().values[11])


def test_wanda_scores_each_projection_of_an_attention_by_its_own_input() -> None:
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    q, k, v = torch.ones(1, 3, 4), torch.full((1, 5, 4), 1e-3), torch.ones(1, 5, 4)
    batches = [{"query": q, "key": k, "value": v}]
    prune(model, 1 / 3, method="wanda", batches=batches, include="in_proj_weight")
    assert [zeros(part) for part in model.in_proj_weight.chunk(3)] == [0, 16, 0]
    with pytest.raises(ValueError, match=r"cannot score out_proj.weight: its input is not visible"):
        prune(model, 0.5, method="wanda", batches=batches)


def test_snip_multiplies_by_the_gradient() -> None:
    model, x = make_mlp(3, 4, 2), torch.randn(5, 3)

    def loss(model: Any, batch: Any) -> Any:
        return model(batch).square().sum()

    gradient = torch.autograd.grad(loss(model, x), model[0].weight)[0]
    want = (model[0].weight.detach() * gradient).abs()
    prune(model, 0.5, method="snip", batches=[x[:2], x[2:]], loss=loss, include="0.weight")
    # The loss is a sum, so the gradients of the batches add up to that of all.
    assert torch.equal(model[0].weight == 0, want <= want.flatten().sort().values[5])
    assert model[0].weight.grad is None


class OwnLinear(nn.Linear):
    def forward(self, input: Any) -> Any:
        return super().forward(input) * 2


@pytest.mark.parametrize("amount", [-0.1, 1.1, float("nan"), "half", True])
def test_amount_out_of_range(amount: Any) -> None:
    with pytest.raises(ValueError, match="amount must be from 0 to 1, got"):
        prune(make_mlp(2, 2), amount)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scope": "model"}, "scope must be one of"),
        ({"method": "size"}, "method must be one of"),
        ({"include": "0.wieght"}, "'0.wieght' matches no parameter. Closest: '0.weight'"),
        ({"include": "0.bias"}, "but no counter states these as matrices"),
        ({"exclude": "9.*"}, r"exclude '9.\*' matches no parameter"),
        ({"include": 3}, "include must be patterns"),
        ({"block": (1, 16)}, "does not fit 0.weight, which has 3 inputs and 4 outputs"),
        ({"method": "wanda"}, "needs batches, an iterable of the model's inputs, got None"),
        ({"method": "wanda", "batches": []}, "needs batches, got none"),
        ({"method": "snip", "batches": [torch.ones(1, 3)]}, "needs loss, a function"),
        ({"batches": []}, "batches has no effect on method 'magnitude', only on wanda and snip"),
        ({"method": "wanda", "loss": len}, "loss has no effect on method 'wanda', only on snip"),
        ({"method": "random", "seed": "a"}, "seed must be an integer of at least 0"),
        ({"reorder": "no"}, "reorder must be true or false, got 'no'"),
    ],
)
def test_wrong_arguments(options: Any, words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        prune(make_mlp(3, 4, 2), 0.5, **options)


def test_weights_that_are_not_finite() -> None:
    model = make_mlp(2, 2)
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ValueError, match=r"0.weight contains NaN or infinite weights"):
        prune(model, 0.5)


def test_module_without_a_counter_is_told() -> None:
    model = nn.Sequential(nn.Linear(3, 3), OwnLinear(3, 3))
    with pytest.warns(UserWarning, match=r"no counter states their inputs: \['1.weight'\]"):
        assert prune(model, 0.5).weights == 9
    with pytest.raises(ValueError, match="no matrix that a counter knows"):
        prune(OwnLinear(2, 2), 0.5)


def test_parameters_that_are_no_matrices_are_not_told(recwarn: Any) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.MambaConfig(
        vocab_size=16, hidden_size=8, state_size=4, num_hidden_layers=1, time_step_rank=2
    )
    result = prune(transformers.MambaForCausalLM(config), 0.5)
    assert len(result.matrices) == 5
    assert not [one for one in recwarn if "not pruned" in str(one.message)]


def test_parametrised_weight_is_an_error() -> None:
    model = parametrizations.weight_norm(nn.Linear(3, 3))
    with pytest.raises(ValueError, match="remove the parametrisation first"):
        prune(model, 0.5)


def test_quantised_model_is_an_error() -> None:
    class Config:
        quantization_config = {"bits": 4}  # noqa: RUF012

    model = make_mlp(2, 2)
    model.config = Config()
    with pytest.raises(ValueError, match="compressed or quantised already"):
        prune(model, 0.5)
    compressed = nn.Sequential(nn.Linear(2, 2), StoredMatrix(torch.ones(2, 2)))
    with pytest.raises(ValueError, match="compressed or quantised already"):
        prune(compressed, 0.5)
    with pytest.raises(TypeError, match=r"must be a torch.nn.Module, got a dict"):
        prune({}, 0.5)


def test_wrappers_are_opened() -> None:
    model = make_mlp(4, 4)
    prune(torch.compile(model), 0.5)
    assert zeros(model[0].weight) == 8


def test_model_on_the_meta_device_is_an_error() -> None:
    with pytest.raises(ValueError, match="it is on the meta device"):
        prune(nn.Linear(2, 2, device="meta"), 0.5)


def test_keep_zeros_finds_the_zeros_of_a_loaded_model() -> None:
    model = make_mlp(7, 9, 5)
    prune(model, 0.5)
    loaded = make_mlp(7, 9, 5)
    loaded.load_state_dict(model.state_dict())
    assert keep_zeros(loaded).zeros == 54


def make_normalised() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.Linear(6, 2))


def test_wanda_evaluates_the_model_and_leaves_it_in_its_mode() -> None:
    model, x = make_normalised(), torch.randn(16, 6) + 3
    weight, x_norm = model[3].weight.detach().clone(), model[:2].eval()(x).norm(dim=0)
    model.train()
    before = {name: value.clone() for name, value in model.named_buffers()}
    prune(model, 0.5, include="3.weight", method="wanda", batches=[x])
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())
    assert all(module.training for module in model.modules())
    scores = (weight.abs() * x_norm).flatten()
    assert (model[3].weight.flatten()[scores.argsort()[:6]] == 0).all()


def test_snip_changes_no_statistics() -> None:
    model = make_normalised()
    before = {name: value.clone() for name, value in model.named_buffers()}
    prune(
        model, 0.5, method="snip", batches=[torch.randn(16, 6) + 3],
        loss=lambda model, batch: model(batch).square().sum(),
    )  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in model.named_buffers())


def test_amount_is_any_real_number() -> None:
    assert prune(nn.Linear(4, 4), np.float32(0.5)).zeros == 8
