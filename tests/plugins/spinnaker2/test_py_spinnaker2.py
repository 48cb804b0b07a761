"""The script for py-spinnaker2 builds the network, as a stand-in with its signatures shows."""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evenfall.errors import LoweringError
from evenfall.graph import Dense, If, Input, Lif, Readout
from evenfall_spinnaker2 import compile, load_image
from evenfall_spinnaker2.py_spinnaker2 import write_script

from .networks import chain, language_model, run


class Population:
    def __init__(
        self, size: int, neuron_model: str, params: dict, name: str | None = None,
        record: list[str] | tuple = (),
    ) -> None:  # fmt: skip
        assert neuron_model in ("spike_list", "lif_no_delay", "lif_curr_exp_no_delay")
        self.size, self.model, self.params, self.name = size, neuron_model, params, name
        self.record, self.spikes = record, {}

    def get_spikes(self) -> dict[int, list[int]]:
        return self.spikes


class Projection:
    def __init__(self, pre: Population, post: Population, connections: list[list[int]]) -> None:
        assert all(isinstance(value, int) for row in connections for value in row)
        assert all(-127 <= w <= 127 and d == 0 for _, _, w, d in connections)
        self.pre, self.post, self.connections = pre, post, connections


class Network:
    def __init__(self, name: str) -> None:
        self.parts: list[Any] = []

    def add(self, *parts: Any) -> None:
        self.parts += parts


class Chip:
    """LIF as the facts state it: v = alpha v + i_offset + sum; an input counts one step later."""

    def run(self, net: Network, timesteps: int, sys_tick_in_s: float = 1e-3) -> None:
        populations = [one for one in net.parts if isinstance(one, Population)]
        projections = [one for one in net.parts if isinstance(one, Projection)]
        before = {id(one): np.zeros(one.size) for one in populations}
        v = {id(one): np.zeros(one.size) for one in populations}
        for step in range(timesteps):
            now = {}
            for one in populations:
                if one.model == "spike_list":
                    now[id(one)] = np.array(
                        [step in one.params.get(i, ()) for i in range(one.size)]
                    )
                    continue
                total = np.zeros(one.size)
                for projection in projections:
                    if projection.post is one:
                        for pre, post, weight, _ in projection.connections:
                            total[post] += weight * before[id(projection.pre)][pre]
                p = one.params
                v[id(one)] = np.array(p["alpha_decay"]) * v[id(one)] + p["i_offset"] + total
                fired = v[id(one)] >= p["threshold"]
                by_subtraction = p["reset"] == "reset_by_subtraction"
                reset = v[id(one)] - p["threshold"] if by_subtraction else p["v_reset"]
                v[id(one)] = np.where(fired, reset, v[id(one)])
                now[id(one)] = fired
                for unit in np.flatnonzero(fired):
                    one.spikes.setdefault(int(unit), []).append(step)
            before = {key: np.asarray(value, float) for key, value in now.items()}


def graph() -> Any:
    rng = np.random.default_rng(1)
    return chain(
        ("input", Input((5,), "events")),
        ("fc", Dense(rng.standard_normal((6, 5)))),
        ("if", If(np.ones(6), np.ones(6), np.zeros(6), "subtract")),
        ("fc2", Dense(rng.standard_normal((3, 6)))),
        (
            "lif",
            Lif(np.full(3, 5e-3), np.ones(3), np.zeros(3), np.full(3, 0.1), np.full(3, 0.02)),
        ),
        ("out", Readout("sum")),
    )


@pytest.fixture
def spinnaker2(monkeypatch: pytest.MonkeyPatch) -> None:
    package = types.ModuleType("spinnaker2")
    package.snn = types.SimpleNamespace(  # type: ignore[attr-defined]
        Population=Population, Projection=Projection, Network=Network
    )
    package.hardware = types.SimpleNamespace(SpiNNaker2Chip=Chip)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "spinnaker2", package)


def test_script_gives_the_spikes_of_the_image(
    tmp_path: Path, spinnaker2: None, capsys: pytest.CaptureFixture, monkeypatch: Any
) -> None:
    x = (np.random.default_rng(2).random((30, 5)) < 0.4).astype(float)
    wanted = run(load_image(compile(graph(), tmp_path / "image", precision="int8")), x)
    folder = write_script(graph(), tmp_path / "script")
    spikes = {str(i): np.flatnonzero(x[:, i]).tolist() for i in range(5)}
    (tmp_path / "spikes.json").write_text(json.dumps(spikes))
    spec = importlib.util.spec_from_file_location("network", folder / "network.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["network.py", str(tmp_path / "spikes.json"), "32"])
    module.main()
    name, _, text = capsys.readouterr().out.partition(" ")
    assert name == "lif"
    got = np.zeros_like(wanted)
    for unit, steps in json.loads(text).items():
        # Level 1 sees an input two raw steps later: one for each projection on the way.
        for step in steps:
            if 2 <= step < 32:
                got[step - 2, int(unit)] = 1
    assert wanted.any()
    np.testing.assert_array_equal(got, wanted)


def test_other_layers_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(
        LoweringError, match="layer 'layer0': py-spinnaker2 has no model for 'egru'"
    ):
        write_script(language_model(), tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_other_inputs_and_options_are_refused(tmp_path: Path) -> None:
    neuron = If(np.ones(1), np.ones(1), np.zeros(1))
    graph = chain(
        ("input", Input((2,))), ("fc", Dense([[1.0, 2.0]])), ("if", neuron), ("out", Readout())
    )
    with pytest.raises(
        LoweringError, match="layer 'input': the script can only have inputs of events, got v"
    ):
        write_script(graph, tmp_path / "out")
    with pytest.raises(ValueError, match=r"options: got \['precision'\]"):
        write_script(graph, tmp_path / "out", precision="bf16")
