"""A whole model: sums, unknown modules, modules that are not called, tied weights."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.functional import linear
from torch.nn.utils import parametrize

from evenfall.counting import Operations, count_operations, list_matrices

from .test_lookup import Half, WithLora


class Net(nn.Module):
    """Embedding and decoder share a weight; one head is not called, and another one is tied to
    nothing that anybody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        return self.head(self.body(self.embed(ids)))


def test_modules_and_their_sum() -> None:
    count = count_operations(Net().eval(), torch.tensor([[1, 2, 3]]))
    assert {name: one.dense_macs for name, one in count.modules.items()} == {
        "embed": 0,
        "body.0": 3 * 16,
        "body.1": 0,
        "body.2": 0,
        "head": 3 * 28,
    }
    assert count.total.dense_macs == 3 * 44
    assert (count.unknown, count.not_called) == ({}, ())


def test_tied_weights_are_listed_at_each_use() -> None:
    found = list_matrices(Net())
    assert [(one.name, one.matrix.role, one.shared_with) for one in found] == [
        ("embed.weight", "lookup", None),
        ("body.0.weight", "input", None),
        ("head.weight", "input", "embed.weight"),
    ]
    assert found[0].weight is found[2].weight


class TiedHead(nn.Module):
    """A head that is tied to an embedding by hand, below a layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 4)
        self.body = nn.Linear(4, 4)

    def forward(self, ids: Any) -> Any:
        return self.multiply(self.body(self.embed(ids)))

    def multiply(self, x: Any) -> Any:
        return x @ self.embed.weight.T


class TiedByEinsum(TiedHead):
    def multiply(self, x: Any) -> Any:
        return torch.einsum("...i,oi->...o", x, self.embed.weight)


class UsesBodyTwice(TiedHead):
    def multiply(self, x: Any) -> Any:
        return linear(x, weight=self.body.weight)


@pytest.mark.parametrize("kind", [TiedHead, TiedByEinsum, UsesBodyTwice])
def test_product_with_the_weight_of_a_submodule_is_told(kind: type[nn.Module]) -> None:
    model = nn.Sequential(kind())
    count = count_operations(model, torch.tensor([[1, 2, 3]]))
    assert count.unknown == {"0": f"{__name__}.{kind.__name__}"}
    assert (count.total.dense_macs, count.not_called) == (3 * 16, ())
    assert not any(one._forward_pre_hooks or one._forward_hooks for one in model.modules())


@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_lazy_and_scripted_modules_can_be_called() -> None:
    assert count_operations(nn.LazyLinear(4), torch.ones(2, 3)).total.dense_macs == 24
    scripted = torch.jit.trace(nn.Sequential(nn.Linear(3, 4)), torch.ones(2, 3))
    assert list(count_operations(scripted, torch.ones(2, 3)).unknown) == ["0"]
    scripted = torch.jit.script(nn.Sequential(nn.Linear(3, 4)))
    assert list(count_operations(scripted, torch.ones(2, 3)).unknown) == ["0"]


def test_encoder_counts_padded_sequences() -> None:
    """torch would make nested tensors of them, which counters cannot read."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 2).eval()
    mask = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    count = count_operations(encoder, torch.randn(2, 5, 8), src_key_padding_mask=mask)
    assert count.total.dense_macs == 2 * 10 * (4 * 64 + 2 * 128)
    assert (count.unknown, count.not_called) == ({}, ())


def test_module_that_is_called_twice_counts_twice() -> None:
    layer = nn.Linear(4, 4)
    count = count_operations(nn.Sequential(layer, layer), torch.ones(1, 4))
    assert {name: one.dense_macs for name, one in count.modules.items()} == {"0": 32}


def test_weight_that_is_used_without_calling_its_module_is_reported() -> None:
    class Around(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(4, 4)
            self.drop = nn.Dropout()

        def forward(self, x: Any) -> Any:
            return linear(x, self.inner.weight)

    count = count_operations(Around(), torch.ones(1, 4))
    assert count.not_called == ("inner",)
    assert count.total == Operations()


def test_unknown_modules_are_named() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.inner = nn.Linear(4, 4)

        def forward(self, x: Any) -> Any:
            return self.inner(x) * self.scale

    class Leaf(nn.Module):
        def forward(self, x: Any) -> Any:
            return x @ x.mT

    model = nn.Sequential(Scale(), WithLora(4, 4), Leaf(), nn.Sequential())
    count = count_operations(model, torch.ones(4, 4))
    assert set(count.unknown) == {"0", "1", "2"}
    assert count.unknown["1"].endswith("test_lookup.WithLora")
    assert {name: one.dense_macs for name, one in count.modules.items()} == {
        "0.inner": 64, "1.down": 32, "1.up": 32,
    }  # fmt: skip


def test_parametrised_weight_counts_as_it_is() -> None:
    layer = nn.Linear(4, 4, bias=False)
    parametrize.register_parametrization(layer, "weight", Half())
    count = count_operations(nn.Sequential(layer), torch.full((1, 4), 2.0))
    assert count.total == Operations(16, 8)
    assert count.unknown == {}
    assert [one.name for one in list_matrices(nn.Sequential(layer))] == ["0.weight"]


def test_compiled_parts_count_as_they_were_written() -> None:
    torch._dynamo.reset()
    inner = Net().eval()
    want = count_operations(inner, torch.tensor([[1, 2, 3]]))
    compiled = torch.compile(inner, backend="eager")
    with torch.no_grad():
        compiled(torch.tensor([[1, 2, 3]]))
    assert count_operations(compiled, torch.tensor([[1, 2, 3]])) == want
    part = nn.Sequential(torch.compile(inner, backend="eager"))
    with torch.no_grad():
        part(torch.tensor([[1, 2, 3]]))
    count = count_operations(part, torch.tensor([[1, 2, 3]]))
    assert (count.total, count.not_called, count.unknown) == (want.total, (), {})
    assert sorted(count.modules) == ["0.body.0", "0.body.1", "0.body.2", "0.embed", "0.head"]


def test_hooks_are_gone_afterwards_even_where_the_model_raises() -> None:
    model = Net()
    with pytest.raises(IndexError):
        count_operations(model, torch.tensor([99]))
    count_operations(model, torch.tensor([1]))
    assert not any(module._forward_hooks for module in model.modules())


def test_counting_needs_no_gradient_and_keeps_the_mode() -> None:
    model = nn.Sequential(nn.Linear(4, 4)).train()
    count_operations(model, torch.ones(1, 4, requires_grad=True))
    assert model.training


def test_core_counts_without_importing_torch(site) -> None:
    statement = "import evenfall.counting, sys; sys.exit('torch' in sys.modules)"
    assert site.run("-c", statement).returncode == 0
