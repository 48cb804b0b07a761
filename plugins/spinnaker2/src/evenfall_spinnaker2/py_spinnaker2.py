"""Spiking networks as a script for py-spinnaker2, the vendor's package (Apache-2.0, not on PyPI).

The script is written from its documented interface. Tests run it against a stand-in with the same
signatures; it was not run with the package itself or on hardware.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from evenfall.errors import LoweringError, shorten
from evenfall.files import written_aside

from .lowering.network import Network, Population, Projection
from .lowering.values import apply
from .settings import Settings
from .sources import read_source

_MODELS = {"if": "lif_no_delay", "lif": "lif_no_delay", "cuba_lif": "lif_curr_exp_no_delay"}
_CHUNK = 256


def write_script(model: Any, output: str | Path, *, replace: bool = False, **options: Any) -> Path:
    """Write a folder with `network.py`, `network.json` and the connections of each projection.

    Weights are int8, delays 0. All layers run from the first step on, so a bias also acts before
    the first input has arrived. `python network.py spikes.json STEPS` runs it: the file maps input
    units to their spike times.

    Args:
        model: as for `compile`, with spiking layers only.
        output: the folder.
        replace: whether an existing folder may be replaced.
        **options: fields of `Settings`: dt, integrator, weight_scale, reset.

    Raises:
        LoweringError: the network has other layers, or something that the package does not have.
        ValueError: another option.
    """
    unknown = set(options) - {"dt", "integrator", "weight_scale", "reset"}
    if unknown:
        raise ValueError(
            f"options: got {shorten(sorted(unknown))}, want dt, integrator, reset or weight_scale"
        )
    settings = Settings(precision="int8", **options)
    source = read_source(model, settings.reset)
    network = settings.network(source.graph)
    populations = [_population(one) for one in network.populations.values()]
    for population in network.populations.values():
        if population.kind == "input" and population.content != "events":
            raise LoweringError(
                f"layer {shorten(population.name)}: the script can only have inputs of events, got "
                f"{population.content}"
            )
    projections = []
    with written_aside(output, replace=replace, known=("network.json", "network.py")) as aside:
        for number, one in enumerate(network.projections):
            name = f"connections_{number}.npy"
            np.save(aside / name, connections(network, one), allow_pickle=False)
            row = {"name": one.name, "pre": one.source, "post": one.target, "connections": name}
            projections.append(row)
        document = {
            "name": source.name,
            "populations": populations,
            "projections": projections,
            "outputs": [one.population for one in network.outputs],
        }
        text = json.dumps(document, indent=1, allow_nan=False) + "\n"
        (aside / "network.json").write_text(text, encoding="utf-8")
        (aside / "network.py").write_text(_SCRIPT, encoding="utf-8")
    return Path(output)


def connections(network: Network, one: Projection) -> Any:
    """(N, 4) integers: [pre, post, weight, delay] of every weight that is not zero."""
    channels, height, width = one.source_shape
    count = channels * height * width
    shape = network.populations[one.target].shape
    parts = []
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        units = np.zeros((size, count))
        units[np.arange(size), start + np.arange(size)] = 1
        weights = np.rint(apply(one, units, shape)).astype(np.int64)
        pre, post = np.nonzero(weights)
        columns: Any = (pre + start, post, weights[pre, post], np.zeros_like(pre))
        parts.append(np.stack(columns, axis=1))
    return np.concatenate(parts)


def _population(one: Population) -> dict[str, Any]:
    if one.kind == "input":
        return {"name": one.name, "size": one.units, "model": "spike_list", "params": {}}
    if one.kind not in _MODELS:
        raise LoweringError(
            f"layer {shorten(one.name)}: py-spinnaker2 has no model for {shorten(one.kind)}; it "
            f"has LIF neurons"
        )
    given = one.parameters
    params = {
        "threshold": _plain(given["threshold"]),
        "alpha_decay": _plain(given.get("alpha", np.ones(one.units))),
        "i_offset": _plain(given["offset"]),
        "v_init": 0.0,
        "v_reset": _plain(given["reset"]),
        "reset": "reset_by_subtraction" if "reset_subtract" in one.flags else "reset_to_v_reset",
    }
    if one.kind == "cuba_lif":
        if np.any(given["bias"] != 0) or np.any(given["gain"] != 1):
            raise LoweringError(
                f"layer {shorten(one.name)}: a bias of the synaptic current is not in py-spinnaker2"
            )
        decay = _plain(given["beta"])
        params |= {"exc_decay": decay, "inh_decay": decay, "t_refrac": 0}
    return {"name": one.name, "size": one.units, "model": _MODELS[one.kind], "params": params}


def _plain(values: Any) -> float | list[float]:
    """One number if all are equal."""
    found = np.asarray(values, np.float64)
    return float(found[0]) if (found == found[0]).all() else found.tolist()


_SCRIPT = '''"""A network for py-spinnaker2, written by evenfall-spinnaker2; not run on hardware.

Run: python network.py SPIKES.json STEPS, where the file maps input units to lists of steps.
"""

import json
import sys
from pathlib import Path

import numpy as np
from spinnaker2 import hardware, snn

HERE = Path(__file__).resolve().parent


def build(spikes):
    """The network; spikes: {input unit: [steps]}."""
    document = json.loads((HERE / "network.json").read_text())
    populations = {}
    for row in document["populations"]:
        is_input = row["model"] == "spike_list"
        populations[row["name"]] = snn.Population(
            size=row["size"],
            neuron_model=row["model"],
            params=spikes if is_input else row["params"],
            name=row["name"],
            record=["spikes"] if row["name"] in document["outputs"] else [],
        )
    projections = [
        snn.Projection(
            pre=populations[row["pre"]],
            post=populations[row["post"]],
            connections=np.load(HERE / row["connections"]).tolist(),
        )
        for row in document["projections"]
    ]
    network = snn.Network(document["name"])
    network.add(*populations.values(), *projections)
    return network, [populations[name] for name in document["outputs"]]


def main():
    spikes = {int(unit): steps for unit, steps in json.loads(Path(sys.argv[1]).read_text()).items()}
    network, outputs = build(spikes)
    hardware.SpiNNaker2Chip().run(network, int(sys.argv[2]))
    for population in outputs:
        print(population.name, json.dumps(population.get_spikes()))


if __name__ == "__main__":
    main()
'''
