"""Which matrices can be pruned, and what is said of the others."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn

from evenfall_sparsity import prune


def test_empty_matrices_have_nothing_to_prune() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 0), nn.Linear(0, 2))
    assert [one.name for one in prune(model, 0.5).matrices] == ["0.weight"]
    with pytest.raises(ValueError, match="no matrix that a counter knows, besides empty ones"):
        prune(nn.Linear(4, 0), 0.5)


def test_parameters_without_a_shape_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"model has no shapes of \['weight', 'bias'\] yet"):
        prune(nn.LazyLinear(4), 0.5)


def test_weights_of_eight_bits_are_an_error() -> None:
    model = nn.Linear(4, 4)
    model.weight = nn.Parameter(model.weight.detach().to(torch.float8_e4m3fn), requires_grad=False)
    with pytest.raises(ValueError, match="weight must be a dense floating point tensor of 16 bits"):
        prune(model, 0.5)


def test_weights_that_are_no_ordinary_tensors_are_an_error() -> None:
    ao = pytest.importorskip("torchao.quantization")
    model = nn.Sequential(nn.Linear(32, 32))
    ao.quantize_(model, ao.Int8WeightOnlyConfig())
    with pytest.raises(ValueError, match=r"0\.weight must be an ordinary tensor, but it is a Int8"):
        prune(model, 0.5)


def test_a_matrix_that_begins_at_zero_is_told() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    nn.init.zeros_(model[1].weight)
    with pytest.warns(UserWarning, match=r"kept at zero in training: \['1.weight'\]; exclude"):
        prune(model, 0.5)


def test_a_matrix_that_is_pruned_to_nothing_is_not_told(recwarn: pytest.WarningsRecorder) -> None:
    model = nn.Linear(4, 4)
    prune(model, 1.0)
    prune(model, 1.0)
    assert not recwarn.list


def test_wanda_reads_packed_sequences() -> None:
    packed = nn.utils.rnn.pack_padded_sequence(torch.randn(2, 5, 6), [5, 3], batch_first=True)
    model = nn.GRU(6, 8, batch_first=True)
    assert prune(model, 0.5, method="wanda", batches=[packed]).sparsity == 0.5
