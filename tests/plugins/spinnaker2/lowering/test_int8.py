"""Int8 arithmetic keeps every bias, also where a row has small weights or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evenfall.errors import LoweringError
from evenfall.graph import Conv2d, Dense, Flatten, Graph, Input, Readout
from evenfall_spinnaker2 import Emulator, compile

from .. import networks


@pytest.mark.parametrize("factor", [0.0, 1e-12, 1e-6])
def test_a_row_of_small_weights_keeps_its_bias(tmp_path: Path, factor: float) -> None:
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((6, 4)) / 2, rng.standard_normal((3, 6)) / 2
    first[0] *= factor
    second[1] *= factor
    bias, other = np.full(6, 0.7), np.array([0.1, 0.6, -0.4])
    graph = networks.chain(
        ("input", Input((4,))),
        ("fc1", Dense(first, bias, "relu")),
        ("fc2", Dense(second, other)),
        ("out", Readout()),
    )
    x = 100 * rng.random((40, 4))
    wanted = np.maximum(x @ first.T + bias, 0) @ second.T + other
    folder = compile(graph, tmp_path / "out", precision="int8", calibration=x)
    got = Emulator(folder).run(x).outputs["out"]
    assert np.abs(got - wanted).max() < 0.03 * np.abs(wanted).max()
    assert np.abs(got[:, 1] - wanted[:, 1]).max() < 1e-3


def test_a_channel_without_weights_keeps_its_bias(tmp_path: Path) -> None:
    graph = networks.chain(
        ("input", Input((1, 3, 3))),
        ("conv", Conv2d(np.stack([np.ones((1, 2, 2)), np.zeros((1, 2, 2))]), [0.25, 0.375])),
        ("flat", Flatten()),
        ("out", Readout()),
    )
    x = np.full((2, 1, 3, 3), 50.0)
    folder = compile(graph, tmp_path / "out", precision="int8", calibration=x)
    got = Emulator(folder).run(x).outputs["out"]
    np.testing.assert_allclose(got[:, 4:], 0.375, rtol=1e-6)
    np.testing.assert_allclose(got[:, :4], 200.25, rtol=2e-3)


def test_the_integers_between_layers_are_no_output(tmp_path: Path) -> None:
    layers = {
        "input": Input((2,)), "fc1": Dense(np.eye(2)), "fc2": Dense(np.eye(2)),
        "middle": Readout(), "out": Readout(),
    }  # fmt: skip
    edges = (("input", "fc1"), ("fc1", "fc2"), ("fc1", "middle"), ("fc2", "out"))
    graph = Graph(layers, edges)
    with pytest.raises(LoweringError, match="layer 'middle': reads 'fc1', which with int8"):
        compile(graph, tmp_path / "out", precision="int8", calibration=np.ones((3, 2)))
    assert not (tmp_path / "out").exists()


def test_examples_are_those_of_one_input(tmp_path: Path) -> None:
    layers = {
        "a": Input((2,)), "b": Input((2,)), "fc1": Dense(np.eye(2)), "fc2": Dense(np.eye(2)),
        "one": Readout(), "two": Readout(),
    }  # fmt: skip
    edges = (("a", "fc1"), ("b", "fc2"), ("fc1", "one"), ("fc2", "two"))
    with pytest.raises(ValueError, match=r"calibration: want .* one input, got \['a', 'b'\]"):
        compile(
            Graph(layers, edges), tmp_path / "out", precision="int8", calibration=np.ones((3, 2))
        )
