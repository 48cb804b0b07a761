"""The counters of torch.nn, compared with counting one product at a time."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from evenfall.counting import Operations, count_operations


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(5)


def holes(*shape: int, share: float = 0.4) -> Any:
    """Random numbers of which a share is zero."""
    return torch.randn(shape) * (torch.rand(shape) >= share)


@torch.no_grad()
def make_holes(module: Any) -> Any:
    for weight in module.parameters():
        weight *= torch.rand(weight.shape) >= 0.3
    return module.eval()


def by_hand(rows: Any, weight: Any) -> Operations:
    """x (N, I) times a weight (O, I), one product at a time."""
    dense = effective = 0
    for x, w in itertools.product(rows, weight):
        dense += len(x)
        effective += sum(1 for a, b in zip(x.tolist(), w.tolist(), strict=True) if a and b)
    return Operations(dense, effective)


def test_linear() -> None:
    layer, x = make_holes(nn.Linear(5, 4)), holes(2, 3, 5)
    count = count_operations(layer, x)
    assert count.total == by_hand(x.reshape(6, 5), layer.weight)
    assert count.total.dense_macs == 6 * 20
    assert (count.unknown, count.not_called) == ({}, ())


@pytest.mark.parametrize("shape", [(5,), (0, 5), (1, 1, 5)])
def test_shapes_of_linear(shape: tuple[int, ...]) -> None:
    layer, x = make_holes(nn.Linear(5, 4)), holes(*shape)
    assert count_operations(layer, x).total == by_hand(x.reshape(-1, 5), layer.weight)


@pytest.mark.parametrize("spikes", [(0.0, 1.0), (-1.0, 0.0, 1.0)])
def test_inputs_of_minus_one_zero_and_one_are_added(spikes: tuple[float, ...]) -> None:
    layer = make_holes(nn.Linear(5, 4))
    x = torch.tensor(spikes)[torch.randint(len(spikes), (6, 5))]
    want = by_hand(x, layer.weight)
    assert count_operations(layer, x).total == Operations(want.dense_macs, 0, want.effective_macs)
    assert count_operations(layer, x * 0.5).total == want


def test_embedding_multiplies_nothing() -> None:
    count = count_operations(nn.Embedding(7, 3), torch.tensor([[1, 2]]))
    assert count.modules == {"": Operations()}
    assert not count.unknown


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.Conv1d(3, 4, 3), (2, 3, 9)),
        (nn.Conv1d(4, 4, 3, padding=2, dilation=2, groups=2), (2, 4, 9)),
        (nn.Conv2d(3, 2, (3, 2), stride=2, padding=1), (2, 3, 6, 5)),
        (nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular"), (2, 1, 5, 5)),
        (nn.Conv2d(3, 2, 3), (3, 6, 5)),
    ],
)
def test_convolution(layer: Any, shape: tuple[int, ...]) -> None:
    layer, x = make_holes(layer), holes(*shape)
    assert count_operations(layer, x).total == convolution_by_hand(layer, x)


def test_a_convolution_is_counted_exactly_in_mixed_precision() -> None:
    layer, x = nn.Conv1d(401, 1, 1), torch.ones(1, 401, 1)
    with torch.autocast("cpu", torch.bfloat16):
        assert count_operations(layer, 2 * x).total == Operations(401, 401)


def convolution_by_hand(layer: Any, x: Any) -> Operations:
    """Put the weight, one entry at a time, over the input, one entry at a time: each pair that
    reaches an output is one product."""
    effective = dense = 0
    with torch.no_grad():
        for at in itertools.product(*(range(size) for size in layer.weight.shape)):
            one = torch.zeros_like(layer.weight)
            one[at] = 1
            reached = layer._conv_forward(torch.ones_like(x), one, None)
            used = layer._conv_forward((x != 0).float(), one, None)
            dense += int(reached.sum())
            effective += int(used.sum()) if layer.weight[at] else 0
    return Operations(dense, effective)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 3, "vdim": 5}])
def test_attention_counts_out_proj_once(batch_first: bool, sizes: dict[str, int]) -> None:
    layer = make_holes(nn.MultiheadAttention(4, 2, batch_first=batch_first, **sizes))
    query, key, value = (
        holes(2, 3, 4),
        holes(2, 3, sizes.get("kdim", 4)),
        holes(2, 3, sizes.get("vdim", 4)),
    )
    count = count_operations(layer, query, key=key, value=value)
    weights = (
        layer.in_proj_weight.chunk(3)
        if not sizes
        else (layer.q_proj_weight, layer.k_proj_weight, layer.v_proj_weight)
    )
    want = Operations()
    for x, weight in zip((query, key, value), weights, strict=True):
        want += by_hand(x.reshape(6, -1), weight)
    want += by_hand(torch.ones(6, 4), layer.out_proj.weight)
    assert count.total == want
    assert (list(count.modules), count.unknown, count.not_called) == ([""], {}, ())


def test_encoder_layer_counts_its_parts_though_torch_has_a_fused_form() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True).eval()
    count = count_operations(layer, torch.randn(2, 3, 4))
    assert count.total.dense_macs == 6 * (4 * 16 + 2 * 24)
    assert (count.unknown, count.not_called) == ({}, ())


CASES = [
    (nn.GRU, {}),
    (nn.GRU, {"num_layers": 2, "bidirectional": True}),
    (nn.LSTM, {"num_layers": 2}),
    (nn.LSTM, {"num_layers": 2, "bidirectional": True, "proj_size": 2}),
    (nn.RNN, {"num_layers": 3, "nonlinearity": "relu", "bias": False}),
]


@pytest.mark.parametrize("with_state", [False, True])
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_recurrent_modules(kind: Any, options: Any, batch_first: bool, with_state: bool) -> None:
    layer = make_holes(kind(3, 4, batch_first=batch_first, **options))
    x = holes(2, 6, 3) if batch_first else holes(6, 2, 3)
    states = start_states(layer, 2) if with_state else None
    count = count_operations(layer, x, *([] if states is None else [states]))
    lengths = torch.tensor([6, 6])
    assert count.total == recurrent_by_hand(layer, x, states, lengths)


@pytest.mark.parametrize(("kind", "options"), CASES)
def test_packed_sequences(kind: Any, options: Any) -> None:
    layer, x, lengths = make_holes(kind(3, 4, **options)), holes(6, 3, 3), torch.tensor([4, 6, 1])
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    assert count_operations(layer, packed).total == recurrent_by_hand(layer, x, None, lengths)


def test_sequence_without_a_batch() -> None:
    layer, x = make_holes(nn.GRU(3, 4, 2)), holes(5, 3)
    want = recurrent_by_hand(layer, x[:, None], None, torch.tensor([5]))
    assert count_operations(layer, x).total == want


def start_states(layer: Any, batch: int) -> Any:
    rows = layer.num_layers * (2 if layer.bidirectional else 1)
    h = holes(rows, batch, layer.proj_size or layer.hidden_size)
    return (h, holes(rows, batch, layer.hidden_size)) if layer.mode == "LSTM" else h


@torch.no_grad()
def recurrent_by_hand(layer: Any, x: Any, states: Any, lengths: Any) -> Operations:
    """Each sequence alone, each direction and layer alone, one step at a time."""
    if layer.batch_first:
        x = x.transpose(0, 1)
    total, directions = Operations(), 2 if layer.bidirectional else 1
    for sequence, length in enumerate(lengths.tolist()):
        rows = x[:length, sequence]
        for depth in range(layer.num_layers):
            outputs = []
            for direction in range(directions):
                at, suffix = depth * directions + direction, f"l{depth}" + "_reverse" * direction
                weights = {
                    name.removesuffix(f"_{suffix}"): weight
                    for name, weight in layer.named_parameters()
                    if name.endswith(f"_{suffix}")
                }
                step = nn.LSTM if layer.mode == "LSTM" else type(layer)
                options = {"proj_size": layer.proj_size} if layer.proj_size else {}
                if layer.mode.startswith("RNN"):
                    options = {"nonlinearity": layer.nonlinearity}
                single = step(rows.shape[1], layer.hidden_size, bias=layer.bias, **options)
                single.load_state_dict({f"{name}_l0": w for name, w in weights.items()})
                state = None
                if states is not None:
                    pair = states if isinstance(states, tuple) else (states,)
                    state = tuple(one[at : at + 1, sequence] for one in pair)
                    state = state if isinstance(states, tuple) else state[0]
                ys = []
                for row in rows.flip(0) if direction else rows:
                    before = torch.zeros(1, weights["weight_hh"].shape[1])
                    if state is not None:
                        before = state[0] if isinstance(state, tuple) else state
                    total += by_hand(row[None], weights["weight_ih"])
                    total += by_hand(before.reshape(1, -1), weights["weight_hh"])
                    y, state = single(row[None], state)
                    if layer.proj_size:
                        total += by_hand(torch.ones(1, layer.hidden_size), weights["weight_hr"])
                    ys.append(y)
                y = torch.cat(ys)
                outputs.append(y.flip(0) if direction else y)
            rows = torch.cat(outputs, 1)
    return total


def test_dropout_between_layers_cannot_be_counted() -> None:
    layer = nn.GRU(3, 4, 2, dropout=0.5)
    with pytest.raises(ValueError, match=r"call eval\(\) first"):
        count_operations(layer, holes(5, 1, 3))
    assert count_operations(layer.eval(), holes(5, 1, 3)).total.dense_macs
