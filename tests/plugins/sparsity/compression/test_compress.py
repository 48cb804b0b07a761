"""compress(): which form each matrix gets, equal results, and what stays as it is."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from evenfall_kernels import StoredMatrix
from evenfall_sparsity import compress, prune, restore
from evenfall_sparsity.compression import CompressedLinear, Costs
from evenfall_sparsity.compression.kinds import holds_exactly

Make = Callable[..., Tensor]


def linear(weight: Tensor, bias: bool = True) -> nn.Linear:
    """A layer whose matrix is (inputs, outputs)."""
    layer = nn.Linear(*weight.shape, bias=bias)
    with torch.no_grad():
        layer.weight.copy_(weight.t())
    return layer


@pytest.mark.parametrize("bias", [False, True])
def test_a_matrix_pruned_by_blocks_gets_blocks(by_blocks: Make, costs: Costs, bias: bool) -> None:
    model = nn.Sequential(linear(by_blocks(64, 100), bias), nn.ReLU(), nn.Linear(100, 8))
    x = torch.randn(5, 64)
    want = model(x).detach()
    result = compress(model, costs=costs)
    first, second = result.matrices
    assert (first.form, second.form) == ("blocks 1x16, float32", "as it is")
    assert isinstance(model[0], CompressedLinear)
    assert type(model[2]) is nn.Linear
    assert list(result.stored) == ["0.weight"]
    torch.testing.assert_close(model(x), want, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(model(x[0]), want[0], rtol=1e-5, atol=1e-5)


def test_single_weights_get_compressed_rows(costs: Costs) -> None:
    weight = torch.zeros(64, 400)
    weight[:, [3, 300]] = torch.rand(64, 2)
    model = nn.Sequential(linear(weight))
    assert compress(model, costs=costs).matrices[0].form == "compressed rows, float32"
    assert torch.equal(model[0].weight.dense(), weight)


def test_the_smallest_of_equally_fast_forms_is_taken(by_blocks: Make, costs: Costs) -> None:
    weight = by_blocks(64, 96, width=4, kept=0.02)
    row = compress(nn.Sequential(linear(weight)), costs=costs).matrices[0]
    assert row.form == "blocks 1x4, float32"
    assert row.reason.startswith("as fast as blocks")


def test_activity_decides_between_rows_and_a_dense_product(costs: Costs) -> None:
    def form(active: float) -> tuple[str, float]:
        model = nn.Sequential(linear(torch.randn(100, 50)))
        x = torch.zeros(2, 100)
        x[:, : round(100 * active)] = 1.0
        row = compress(model, x, costs=costs).matrices[0]
        return row.form, row.activity

    assert form(0.1) == ("rows, float32", pytest.approx(0.1))
    assert form(0.9) == ("as it is", pytest.approx(0.9))


def test_estimates_add_up_the_rows_that_fired(costs: Costs) -> None:
    """Activity times density would miss that the active rows are the full ones."""
    weight = torch.zeros(4, 40)
    weight[:2] = 1.0
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0]])
    row = compress(nn.Sequential(linear(weight)), x, costs=costs).matrices[0]
    assert row.estimates["compressed rows, float32"] == pytest.approx(1.5 * (2 + 1.2 * 40) / 1000)
    assert row.estimates["rows, float32"] == pytest.approx(1.5 * (2 + 40) / 1000)
    assert row.estimates["as it is"] == pytest.approx(0.5 * 160 / 1000)


@pytest.mark.parametrize("exact", [True, False])
def test_narrow_dtypes_need_weights_that_they_hold(
    by_blocks: Make, costs: Costs, exact: bool
) -> None:
    weights = by_blocks(64, 100), by_blocks(100, 64).bfloat16().float()
    model = nn.Sequential(*map(linear, weights))
    forms = [row.form for row in compress(model, exact=exact, costs=costs).matrices]
    first = "blocks 1x16, float32" if exact else "blocks 1x16, int8"
    assert forms == [first, "blocks 1x16, bfloat16" if exact else "blocks 1x16, int8"]
    if exact:
        assert all(
            torch.equal(m.weight.dense().float(), w) for m, w in zip(model, weights, strict=True)
        )
    else:
        step = weights[0].abs().amax(1, keepdim=True) / 127
        assert ((model[0].weight.dense() - weights[0]).abs() <= step * 0.501).all()


def test_ninety_percent_by_blocks_takes_an_eighth_of_the_bytes(
    by_blocks: Make, costs: Costs
) -> None:
    model = nn.Sequential(linear(by_blocks(300, 900)), linear(by_blocks(900, 300)))
    result = compress(model, costs=costs)
    stored = sum(m.nbytes for m in model.modules() if isinstance(m, StoredMatrix))
    assert result.bytes == stored <= 0.125 * result.bytes_before == 0.125 * 2 * 300 * 900 * 4


def test_excluded_and_unsupported_matrices_stay_as_they_are(by_blocks: Make, costs: Costs) -> None:
    model = nn.ModuleDict({"a": linear(by_blocks(32, 32)), "b": linear(by_blocks(32, 32))})
    model["rnn"] = nn.GRU(8, 8)
    parametrize.register_parametrization(model["b"], "weight", nn.Identity())
    rows = {row.name: row for row in compress(model, exclude="a.*", costs=costs).matrices}
    assert {row.form for row in rows.values()} == {"as it is"}
    assert rows["a.weight"].reason == "excluded"
    assert rows["b.weight"].reason == "computed from other parameters"
    assert rows["rnn.weight_ih_l0"].reason == "GRU computes from dense weights"


def test_a_matrix_of_two_modules_stays_shared(by_blocks: Make, costs: Costs) -> None:
    model = nn.Sequential(linear(by_blocks(32, 32)), nn.Linear(32, 32))
    model[1].weight = model[0].weight
    rows = compress(model, costs=costs).matrices
    assert [row.reason for row in rows] == ["several modules multiply it"] * 2
    assert model[1].weight is model[0].weight


def test_a_plain_module_is_saved_and_restored(by_blocks: Make, costs: Costs) -> None:
    model = nn.Sequential(linear(by_blocks(64, 100)), nn.ReLU(), nn.Linear(100, 8))
    other = copy.deepcopy(model)
    result, x = compress(model, costs=costs), torch.randn(3, 64)
    restore(other, result.stored).load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))
    assert torch.equal(copy.deepcopy(model)(x), model(x))


def test_gradients_reach_what_comes_before(by_blocks: Make, costs: Costs) -> None:
    model = nn.Sequential(linear(by_blocks(16, 32)))
    compress(model, costs=costs)
    x = torch.randn(3, 16, requires_grad=True)
    model(x).sum().backward()
    assert torch.isfinite(x.grad).all()
    assert model[0].bias.grad is not None


def test_the_report_is_a_table(by_blocks: Make, costs: Costs) -> None:
    lines = str(compress(nn.Sequential(linear(by_blocks(64, 100))), costs=costs)).splitlines()
    assert lines[0].split() == ["matrix", "shape", "nonzero", "active", "form", "us", "MB", "why"]
    assert lines[1].startswith("0.weight  64 x 100")
    assert "fastest; next is" in lines[1]
    assert lines[-1].startswith("matrices: 0.00 MB")


def nan_model() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, 2))
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    return model


@pytest.mark.parametrize(
    ("model", "options", "error", "message"),
    [
        ([1.0], {}, TypeError, "must be a torch.nn.Module, got a list"),
        (nn.ReLU(), {}, ValueError, "nothing to compress"),
        (nan_model(), {}, ValueError, "0.weight contains NaN or infinite weights"),
        (
            nn.Sequential(nn.Linear(2, 2)),
            {"exclude": "x*"},
            ValueError,
            "exclude 'x.' matches none",
        ),
        (nn.Linear(2, 2, device="meta"), {}, ValueError, "needs a model on the CPU"),
    ],
)
def test_wrong_arguments(
    model: Any, options: dict[str, Any], error: type[Exception], message: str, costs: Costs
) -> None:
    with pytest.raises(error, match=message):
        compress(model, costs=costs, **options)


def test_a_compressed_model_is_not_compressed_again(by_blocks: Make, costs: Costs) -> None:
    model = nn.Sequential(linear(by_blocks(64, 100)))
    compress(model, costs=costs)
    with pytest.raises(ValueError, match="compressed or quantised already"):
        compress(model, costs=costs)


def test_restore_names_what_does_not_fit(by_blocks: Make, costs: Costs) -> None:
    stored = compress(nn.Sequential(linear(by_blocks(64, 100))), costs=costs).stored
    with pytest.raises(ValueError, match=r"no parameter 0\.weight"):
        restore(nn.Sequential(nn.ReLU()), stored)
    with pytest.raises(ValueError, match=r"0\.weight must have shape \(64, 100\)"):
        restore(nn.Sequential(nn.Linear(64, 99)), stored)
    with pytest.raises(ValueError, match=r"the model's has \(64, 100\)"):
        restore(nn.Sequential(nn.Linear(100, 64)), stored)
    with pytest.raises(ValueError, match="exclude must be patterns of parameter names, got 5"):
        compress(nn.Sequential(linear(by_blocks(64, 100))), exclude=5, costs=costs)
    with pytest.raises(ValueError, match="cannot be compressed: Bilinear computes from dense"):
        restore(nn.Sequential(nn.Bilinear(1, 2, 3)), stored)


def test_layers_with_hooks_stay_as_they_are(by_blocks: Make, costs: Costs) -> None:
    model = nn.Sequential(*(linear(by_blocks(64, 64)) for _ in range(3)))
    seen: list[int] = []
    model[1].register_forward_hook(lambda *_: seen.append(1))
    model[2].register_forward_pre_hook(lambda *_: seen.append(2))
    result = compress(model, costs=costs)
    assert [one.form == "as it is" for one in result.matrices] == [False, True, True]
    assert result.matrices[1].reason == "its hooks would be lost"
    model(torch.ones(1, 64))
    assert seen == [1, 2]


def test_layers_that_a_fused_operation_reads_stay_as_they_are(costs: Costs) -> None:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True).eval()
    model = nn.Sequential(layer, nn.Linear(16, 64))
    prune(model, 0.95)
    x = torch.randn(2, 3, 16)
    with torch.no_grad():
        want = model(x)
        result = compress(model, costs=costs)
        torch.testing.assert_close(model(x), want)
    reasons = {one.name: one.reason for one in result.matrices}
    assert reasons["0.linear1.weight"] == "TransformerEncoderLayer reads its weight itself"
    assert list(result.stored) == ["1.weight"]


def test_a_compressed_model_does_not_hold_the_dense_weights(costs: Costs) -> None:
    egru = pytest.importorskip("evenfall_egru")
    config = egru.EgruConfig(vocab_size=20, embedding_size=32, hidden_sizes=[32])
    model = egru.EgruForCausalLM(config)
    prune(model, 0.95)
    kernel = weakref.ref(model.model.layers[0].recurrent_kernel)
    result = compress(model, costs=costs)
    assert "model.layers.0.recurrent_kernel" in result.stored
    gc.collect()
    assert kernel() is None


def test_int8_holds_a_float64_matrix_only_exactly() -> None:
    weight = torch.randint(-127, 128, (8, 8), generator=torch.Generator().manual_seed(0)).double()
    weight[:, 0] = 127
    assert holds_exactly(weight, torch.int8)
    weight[3, 3] += 1e-12
    assert not holds_exactly(weight, torch.int8)
