"""Weights are stored exactly where that was promised, and rounded as stated elsewhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evenfall.errors import LoweringError
from evenfall.graph import Dense, Input, Lif, Readout
from evenfall_spinnaker2.lowering.from_graph import make_network
from evenfall_spinnaker2.lowering.precision import choose_precision, to_bf16

from ..networks import chain, language_model, spiking, values


def formats(graph, precision: str = "auto") -> list[str | None]:
    network = choose_precision(make_network(graph), precision)
    return [one.weight_format for one in network.projections]


def lif(weights: np.ndarray):
    n = len(weights)
    return chain(
        ("in", Input((weights.shape[1],), "events")),
        ("fc", Dense(weights)),
        ("lif", Lif(np.full(n, 5e-3), np.ones(n), np.zeros(n), np.ones(n), np.zeros(n))),
        ("out", Readout()),
    )


def test_auto_takes_the_smallest_exact_format() -> None:
    assert formats(lif(np.array([[1.0, -127.0]]))) == ["int8"]
    assert formats(lif(np.array([[1.0, 128.0]]))) == ["bf16"]
    assert formats(lif(np.array([[1.0, 0.1]]))) == ["fp32"]
    assert formats(language_model()) == ["fp32"] * 4
    graph = language_model()
    layers = {
        name: replace(
            one, **{k: to_f32(to_bf16(v)) for k, v in vars(one).items() if k.endswith("kernel")}
        )
        for name, one in graph.layers.items()
    }
    from evenfall.graph import Graph

    assert formats(Graph(layers, graph.edges)) == ["bf16"] * 4


def to_f32(bits: np.ndarray) -> np.ndarray:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def test_bf16_rounds_to_nearest_even() -> None:
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    wanted = torch.from_numpy(x).bfloat16().float().numpy()
    np.testing.assert_array_equal(to_f32(to_bf16(x)), wanted)


def test_int8_of_spiking_layers_scales_the_threshold() -> None:
    plain = choose_precision(make_network(spiking()), "fp32")
    scaled = choose_precision(make_network(spiking()), "int8")
    for name in ("if", "cuba", "lif"):
        one, other = plain.populations[name], scaled.populations[name]
        scale = other.scaling["w_scale"]
        largest = max(np.abs(p.operation.weights).max() for p in plain.incoming(name))
        assert scale == pytest.approx(127 / largest)
        np.testing.assert_allclose(
            other.parameters["threshold"], scale * one.parameters["threshold"]
        )
        np.testing.assert_allclose(other.parameters["offset"], scale * one.parameters["offset"])
        for before, after in zip(plain.incoming(name), scaled.incoming(name), strict=True):
            np.testing.assert_array_equal(
                after.operation.weights, np.rint(before.operation.weights * scale)
            )


def test_int8_of_other_layers_has_a_scale_for_each_accumulator() -> None:
    network = choose_precision(make_network(language_model()), "int8")
    layer = network.populations["layer0"]
    scale = layer.parameters["scale"].reshape(4, 24)
    plain = make_network(language_model())
    for one, other in zip(network.incoming("layer0"), plain.incoming("layer0"), strict=True):
        first = one.operation.first
        near = one.operation.weights * scale[first : first + 3]
        assert np.abs(near - other.operation.weights).max() <= scale.max() / 2 * 1.001


def test_wrong_use_of_calibration_is_named() -> None:
    x = np.zeros((3, 64))
    with pytest.raises(ValueError, match="calibration needs precision 'int8', got"):
        choose_precision(make_network(values()), "bf16", calibration=x)
    with pytest.raises(ValueError, match=r"calibration: got shape \(3, 5\), want \(examples, 64\)"):
        choose_precision(make_network(values()), "int8", calibration=np.zeros((3, 5)))
    with pytest.raises(ValueError, match="not finite"):
        choose_precision(make_network(values()), "int8", calibration=x + np.nan)
    with pytest.raises(LoweringError, match="int8 activations need dense and convolution layers"):
        choose_precision(make_network(spiking()), "int8", calibration=np.zeros((3, 128)))


def test_weight_scale_that_is_too_large_is_named() -> None:
    with pytest.raises(ValueError, match=r"weight_scale: 200.0 makes a weight of 'fc' 200"):
        choose_precision(make_network(lif(np.ones((1, 1)))), "int8", weight_scale=200.0)
