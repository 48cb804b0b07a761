"""Spiking neurons of NIR in discrete time, scaled so that an input of weight w adds w.

Source: the NIR importer of py-spinnaker2 (Apache-2.0), whose scaling this is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from evenfall.errors import LoweringError, shorten
from evenfall.graph import CubaLif, If, Lif

INTEGRATORS = ("forward", "exponential")


def discrete(
    name: str, layer: If | Lif | CubaLif, dt: float, integrator: str
) -> tuple[str, dict[str, Any], dict[str, float]]:
    """(kind, parameters in float64, the scaling) of a spiking layer.

    A step takes the share a = dt / tau (forward) or 1 - exp(-dt / tau) (exponential) of the way to
    the equilibrium: v' = (1 - a) v + a (v_leak + r I). In units of a r, the input I adds
    I. IF has no time constant: v' = v + r I.

    Raises:
        LoweringError: dt is larger than a time constant (forward), or r is 0.
    """
    flat = {
        key: np.asarray(value, np.float64).ravel()
        for key, value in vars(layer).items()
        if key != "reset"
    }
    if (flat["r"] == 0).any():
        raise LoweringError(f"layer {shorten(name)}: r is 0 for some units, which then never spike")
    if isinstance(layer, If):
        scale = 1 / flat["r"]
        parameters = {"offset": np.zeros_like(scale)}
        kind = "if"
    elif isinstance(layer, Lif):
        share = _share(name, flat["tau"], dt, integrator)
        scale = 1 / (share * flat["r"])
        parameters = {"alpha": 1 - share, "offset": share * flat["v_leak"] * scale}
        kind = "lif"
    else:
        share = _share(name, flat["tau_mem"], dt, integrator)
        synaptic = _share(name, flat["tau_syn"], dt, integrator)
        if (flat["w_in"] == 0).any():
            raise LoweringError(
                f"layer {shorten(name)}: w_in is 0 for some units, which never spike"
            )
        scale = 1 / (share * flat["r"] * synaptic * flat["w_in"])
        parameters = {
            "bias": np.zeros_like(scale),
            "beta": 1 - synaptic,
            "alpha": 1 - share,
            "gain": np.ones_like(scale),
            "offset": share * flat["v_leak"] * scale,
        }
        kind = "cuba_lif"
    if (scale < 0).any():
        raise LoweringError(f"layer {shorten(name)}: r or w_in is negative for some units")
    parameters["threshold"] = flat["v_threshold"] * scale
    parameters["reset"] = flat["v_reset"] * scale
    return kind, parameters, {"v_scale_min": float(scale.min()), "v_scale_max": float(scale.max())}


def _share(name: str, tau: Any, dt: float, integrator: str) -> Any:
    if integrator == "exponential":
        return -np.expm1(-dt / tau)
    if (dt > tau).any():
        raise LoweringError(
            f"layer {shorten(name)}: dt {dt} exceeds the time constant {tau.min()}; use a "
            f"smaller dt or "
            "integrator='exponential'"
        )
    return dt / tau
