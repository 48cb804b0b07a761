"""Slices cover each population, fit, and are as few and even as possible."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from evenfall_spinnaker2 import settings
from evenfall_spinnaker2.chip import load_chip
from evenfall_spinnaker2.image import pack
from evenfall_spinnaker2.lowering.from_graph import make_network
from evenfall_spinnaker2.lowering.precision import choose_precision
from evenfall_spinnaker2.lowering.sketch import random_egru, sketch_egru, sketched
from evenfall_spinnaker2.mapping import layouts
from evenfall_spinnaker2.mapping.blobs import make_blob
from evenfall_spinnaker2.mapping.layout import Options, PopulationLayout, segments
from evenfall_spinnaker2.mapping.partition import even, partition
from evenfall_spinnaker2.mapping.route import assign_keys
from evenfall_spinnaker2.settings import Settings

from ..networks import spiking, values


def layout_of(density: float, mode: str = "events") -> PopulationLayout:
    network = choose_precision(make_network(random_egru(40, (90,), density)))
    return PopulationLayout(network, network.populations["layer 1"], Options(mode))


@pytest.mark.parametrize("density", [1.0, 0.2, 0.02])
@pytest.mark.parametrize("capacity", [4000, 9000, 60000])
def test_slices_cover_and_fit(density: float, capacity: int) -> None:
    layout = layout_of(density)
    cuts = partition(layout, capacity)
    assert [one.first for one in cuts] == np.cumsum([0, *(one.count for one in cuts)])[:-1].tolist()
    assert sum(one.count for one in cuts) == 90
    sizes = [layout.bytes(one.first, one.count) for one in cuts]
    assert max(sizes) <= capacity
    # One fewer would not do: all but one of the smallest slices do not fit into the rest.
    assert sum(sizes) > capacity * (len(cuts) - 1) * 0.5


@pytest.mark.parametrize("mode", ["events", "gather"])
@pytest.mark.parametrize("density", [1.0, 0.2, 0.02])
def test_stated_bytes_are_those_of_the_blob(density: float, mode: str) -> None:
    network = choose_precision(make_network(random_egru(40, (90,), density)))
    layout = PopulationLayout(network, network.populations["layer 1"], Options(mode))
    keys = assign_keys(network)
    for part in partition(layout, 9000):
        blob = make_blob(layout, part, keys, 0)
        size = len(pack(blob))
        assert size <= layout.blob_bytes(part.first, part.count) <= size + 12 * 2
        assert blob.memory() == layout.memory(part.count)


@pytest.mark.parametrize("make", [spiking, values])
def test_stated_bytes_of_other_layers(make) -> None:
    network = choose_precision(make_network(make()))
    keys = assign_keys(network)
    for population in network.on_chip():
        layout = PopulationLayout(network, population, Options())
        for part in partition(layout, 4000):
            size = len(pack(make_blob(layout, part, keys, 0)))
            assert size <= layout.blob_bytes(part.first, part.count) <= size + 24


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_sketch_has_the_sizes_of_the_network(precision: str) -> None:
    exact = make_network(random_egru(60, (80, 80), 1.0))
    networks = [
        choose_precision(exact, precision),
        sketch_egru(60, (80, 80), 1.0, precision),
        sketched(choose_precision(exact, "fp32"), None, precision),
        sketched(choose_precision(exact, "int8"), None, precision),
    ]
    for name in ("layer 1", "layer 2"):
        layouts = [PopulationLayout(one, one.populations[name], Options()) for one in networks]
        assert len({layout.bytes(3, 20) for layout in layouts}) == 1


def test_even_sizes() -> None:
    assert even(10, 4) == [2, 3, 2, 3]
    assert even(8, 4) == [2, 2, 2, 2]


def test_fixed_number_of_slices() -> None:
    cuts = partition(layout_of(1.0), 60_000, pes=7)
    assert len(cuts) == 7
    with pytest.raises(ValueError, match=r"layer 'layer 1': a processing element needs \d+ bytes"):
        partition(layout_of(1.0), 4000, pes=2)


def test_a_fixed_number_of_slices_must_not_cut_across_channels() -> None:
    network = choose_precision(make_network(values()))
    layout = PopulationLayout(network, network.populations["conv"], Options())
    channel = layout.bytes(0, 64)
    assert len(partition(layout, channel, pes=3)) == 3
    assert len(partition(layout, channel - 1, pes=6)) == 6  # halves of channels
    with pytest.raises(ValueError, match="layer 'conv': 5 slices would cut across the channels"):
        partition(layout, channel - 1, pes=5)


def test_segments_keep_every_sum_within_24_bits() -> None:
    network = make_network(values())
    one = next(p for p in network.projections if p.name == "fc1")
    rng = np.random.default_rng(0)
    weights = rng.integers(100, 127, (3000, 1, 4)).astype(np.int8)
    large = replace(
        one,
        source_shape=(3000, 1, 1),
        pool=(1, 1),
        operation=replace(one.operation, weights=weights),
    )
    cuts = segments(large, is_signed=False)
    assert len(cuts) >= 4
    for first, end in zip((0, *cuts), (*cuts, 3000), strict=True):
        assert 127 * weights[first:end].astype(int).sum(0).max() < 2**23
    assert (
        segments(
            replace(
                large,
                operation=replace(one.operation, weights=weights[:50] // 9),
                source_shape=(50, 1, 1),
            ),
            False,
        )
        == ()
    )


def test_int8_weights_and_sums_have_the_limits_of_the_chip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    small = replace(load_chip(), weight_limit=7, accumulator_bits=16)
    for module in (settings, layouts):
        monkeypatch.setattr(module, "load_chip", lambda profile: small)
    options = Settings(precision="int8")
    network = options.network(values(), np.ones((2, 64)))
    assert {int(np.abs(one.operation.weights).max()) for one in network.projections} == {7}
    found = options.plan(network).layouts["fc1"]
    assert found.segments == [segments(found.incoming[0], False, 16)] != [()]
