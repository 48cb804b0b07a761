"""trace finds the gap between an image and its model, and the events that differ."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evenfall.graph import Dense, Input, Readout
from evenfall_spinnaker2 import compile
from evenfall_spinnaker2.lowering.from_graph import make_network
from evenfall_spinnaker2.tracing import losses, simulate, trace

from .. import networks

RANDOM = np.random.default_rng(2)
TOKENS = RANDOM.integers(0, 31, 20)
SPIKES = (RANDOM.random((25, 2, 8, 8)) < 0.15).astype(np.float64)
PIXELS = RANDOM.random((9, 1, 8, 8))


def test_an_exact_image_has_a_gap_of_rounding(tmp_path: Path) -> None:
    graph = networks.language_model()
    found = trace(compile(graph, tmp_path / "out"), graph, TOKENS)
    assert [one.name for one in found.layers] == ["layer0", "layer1"]
    assert all(one.flipped == 0 and one.first_flip is None for one in found.layers)
    assert all(0 < one.gap.max() < 1e-5 and one.events > 0 for one in found.layers)
    assert found.outputs["logits"].shape == (20,)
    assert found.outputs["logits"].max() < 1e-4
    assert found.same_choice == found.steps == 20
    assert json.loads(json.dumps(found.as_dict()))["layers"][0]["name"] == "layer0"


def test_rounded_weights_flip_events_near_the_threshold(tmp_path: Path) -> None:
    graph = networks.language_model()
    found = trace(compile(graph, tmp_path / "out", precision="int8"), graph, TOKENS, kept=3)
    flipped = [one for one in found.layers if one.flipped]
    assert flipped
    for one in flipped:
        assert len(one.flips) == min(3, one.flipped)
        assert one.flips[0].step == one.first_flip
        assert all(flip.fired != (flip.margin > 0) for flip in one.flips)
    first = min(flipped, key=lambda one: one.first_flip or 0)
    assert abs(first.flips[0].margin) < 0.1
    assert found.outputs["logits"].max() > 1e-4


def test_spiking_and_value_networks_are_traced(tmp_path: Path) -> None:
    spiking = networks.spiking()
    found = trace(compile(spiking, tmp_path / "a"), spiking, SPIKES)
    assert {one.name for one in found.layers} == {"if", "cuba", "lif"}
    assert not any(one.flipped for one in found.layers)
    values = networks.values()
    found = trace(compile(values, tmp_path / "b"), values, PIXELS)
    assert max(one.gap.max() for one in found.layers) < 1e-4
    image = compile(values, tmp_path / "c", precision="int8", calibration=PIXELS)
    rounded = trace(image, values, PIXELS)
    assert all(0 < one.gap.max() < 1 for one in rounded.layers)


def test_the_model_is_traced_with_the_options_of_the_image(tmp_path: Path) -> None:
    graph = networks.spiking()
    image = compile(graph, tmp_path / "a", integrator="exponential", decoder="chip")
    found = trace(image, graph, SPIKES)
    assert not any(one.flipped for one in found.layers)
    assert max(one.gap.max() for one in found.layers) == 0
    model = networks.language_model()
    traced = trace(compile(model, tmp_path / "b", decoder="chip"), model, TOKENS)
    assert [one.name for one in traced.layers] == ["layer0", "layer1", "head"]


def test_whole_numbers_are_compared_as_they_are(tmp_path: Path) -> None:
    weights = RANDOM.integers(-3, 4, (4, 6)).astype(float)
    image, model = (
        networks.chain(("input", Input((6,))), ("fc", Dense(w)), ("out", Readout()))
        for w in (weights, 2 * weights)
    )
    x = RANDOM.integers(1, 5, (10, 6)).astype(float)
    (layer,) = trace(compile(image, tmp_path / "out"), model, x).layers
    np.testing.assert_allclose(layer.gap, np.abs(x @ weights.T).max(1))


def test_the_reference_agrees_with_activations() -> None:
    from evenfall_spinnaker2.lowering.values import activations

    network = make_network(networks.values())
    found = simulate(network, {"input": PIXELS.reshape(9, -1)})
    for name, wanted in activations(network, PIXELS).items():
        np.testing.assert_allclose(found.sent[name], wanted, atol=1e-12)
    assert not found.margins


def test_losses_name_the_layer_to_keep_precise() -> None:
    network = make_network(networks.language_model())
    weight = networks.language_model().layers["embed"].weight
    found = losses(network, {"tokens": weight[TOKENS].astype(float)})
    assert {one.name for one in found} == {"layer0", "layer1"}
    assert all(one.gap > 0 and 0 <= one.changed <= 1 for one in found)
    assert found[0].changed >= found[1].changed
    spiking = losses(make_network(networks.spiking()), {"input": SPIKES.reshape(25, -1)})
    assert {one.name for one in spiking} == {"if", "cuba", "lif"}
    values = losses(make_network(networks.values()), {"input": PIXELS.reshape(9, -1)})
    assert all(one.gap < 0.1 for one in values)


def test_another_model_is_refused(tmp_path: Path) -> None:
    image = compile(networks.language_model(), tmp_path / "out")
    with pytest.raises(ValueError, match="model has the layers"):
        trace(image, networks.spiking(), TOKENS)
