"""A Sequential becomes a graph that computes what it computes, or is refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from torch import nn
from torch.nn.utils import prune

from evenfall.errors import LoweringError
from evenfall.exporting import lower
from evenfall_spinnaker2.lowering.from_graph import make_network
from evenfall_spinnaker2.lowering.values import activations


def computed(graph: Any, x: Any) -> Any:
    network = make_network(graph)
    return activations(network, x)[network.outputs[0].population]


def test_convolution_network_computes_the_same() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Dropout(0.5), nn.Sequential(nn.Linear(16, 8), nn.ReLU()), nn.Linear(8, 3, bias=False),
    ).eval()  # fmt: skip
    model.input_shape = (2, 8, 8)
    x = torch.randn(5, 2, 8, 8)
    with torch.no_grad():
        wanted = model(x).numpy()
    graph = lower(model)
    np.testing.assert_allclose(computed(graph, x.numpy()), wanted, atol=1e-5)
    assert list(graph.layers) == ["input", "0", "2", "3", "5.0", "6", "output"]


def test_dense_network_knows_its_input() -> None:
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 2))
    assert lower(model).shape("input") == (6,)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (
            [nn.Linear(4, 3), nn.Tanh()],
            r"module '1': torch.nn.modules.activation.Tanh has no lower",
        ),
        ([nn.ReLU(), nn.Linear(4, 3)], r"module '0': a ReLU must follow a Linear or Conv2d"),
        ([nn.Conv2d(2, 2, 3, groups=2)], "Conv2d with groups=2; only groups=1"),
        ([nn.Conv2d(2, 2, 3, padding="same")], "padding='same'; give numbers"),
        ([nn.Conv2d(2, 2, 3), nn.Flatten(2)], r"Flatten\(2, -1\); only"),
        (
            [nn.Conv2d(2, 2, 3), nn.AvgPool2d(2, padding=1)],
            r"AvgPool2d with padding=\(1, 1\); only",
        ),
        ([nn.Linear(4, 3), nn.LSTM(3, 3)], "LSTM has no lowering"),
        ([], "an empty Sequential"),
    ],
)
def test_what_has_no_counterpart_is_named(layers: list[Any], message: str) -> None:
    model = nn.Sequential(*layers)
    model.input_shape = (2, 8, 8) if layers and isinstance(layers[0], nn.Conv2d) else (4,)
    with pytest.raises(LoweringError, match=message):
        lower(model)


def test_convolution_needs_the_shape_of_its_input() -> None:
    with pytest.raises(LoweringError, match=r"set model.input_shape = \(channels, height, width\)"):
        lower(nn.Sequential(nn.Conv2d(2, 2, 3)))


@pytest.mark.parametrize("pool", [nn.AvgPool2d(3, 2), nn.AvgPool2d(2)])
def test_overlapping_pooling_is_refused(pool: Any) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), pool, nn.Flatten(), nn.LazyLinear(3))
    model.input_shape = (1, 8, 8)
    model(torch.zeros(1, 1, 8, 8))
    if pool.stride == pool.kernel_size:
        make_network(lower(model))
        return
    with pytest.raises(LoweringError, match="only stride = kernel without padding"):
        make_network(lower(model))


def test_a_module_that_is_there_twice_computes_twice() -> None:
    torch.manual_seed(0)
    relu, linear = nn.ReLU(), nn.Linear(4, 4)
    model = nn.Sequential(linear, relu, linear, relu, nn.Linear(4, 3)).eval()
    x = torch.randn(5, 4)
    with torch.no_grad():
        wanted = model(x).numpy()
    np.testing.assert_allclose(computed(lower(model), x.numpy()), wanted, atol=1e-6)


def test_weights_on_the_device_meta_are_refused() -> None:
    with pytest.raises(LoweringError, match="on the device 'meta'"):
        lower(nn.Sequential(nn.Linear(4, 3, device="meta")))


def test_complex_weights_are_refused() -> None:
    with pytest.raises(LoweringError, match=r"1.weight has complex numbers, want real ones"):
        lower(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2, dtype=torch.complex64)))


def test_a_module_alone_is_a_network() -> None:
    model, x = nn.Linear(4, 3), torch.randn(5, 4)
    with torch.no_grad():
        np.testing.assert_allclose(computed(lower(model), x.numpy()), model(x).numpy(), atol=1e-6)
    conv = nn.Conv2d(2, 3, 3)
    conv.input_shape = (2, 8, 8)
    assert lower(conv).shape("output") == (3, 6, 6)
    with pytest.raises(LoweringError, match=r"set model.input_shape"):
        lower(nn.Identity())


def test_hooks_that_an_export_loses_cause_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    model = nn.Sequential(nn.Linear(4, 3))
    prune.l1_unstructured(model[0], "weight", 0.5)
    graph = lower(model)
    assert not recwarn
    assert np.count_nonzero(graph.layers["0"].weight) == 6
    model[0].register_forward_hook(lambda module, x, y: 2 * y)
    with pytest.warns(UserWarning, match=r"module '0' has forward hooks, which are not exported"):
        lower(model)
