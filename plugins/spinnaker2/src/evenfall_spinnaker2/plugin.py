"""Entry point: registers the exporter, lowerings and command without importing a framework."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evenfall import hookimpl

EVENFALL_API = 1

_LOWERINGS = (
    ("Sequential", "SEQUENTIAL", "its modules, one after the other"),
    ("Linear", "LINEAR", "a dense layer"),
    ("Conv2d", "CONV", "a convolution"),
    ("ReLU", "RELU", "joins the layer before it"),
    ("Flatten", "FLATTEN", "all axes become one"),
    ("AvgPool2d", "AVERAGE", "a scaled sum over windows"),
    ("Dropout", "NOTHING", "nothing in evaluation"),
    ("Dropout2d", "NOTHING", "nothing in evaluation"),
    ("Identity", "NOTHING", "nothing"),
)


@hookimpl
def evenfall_register_exporters(register: Callable[..., Any]) -> None:
    """Register the exporter of images."""
    register(
        "spinnaker2",
        "evenfall_spinnaker2.compiling:export",
        summary="images for the chip SpiNNaker2, emulator-verified, not run on hardware",
    )


@hookimpl
def evenfall_register_lowerings(register: Callable[..., Any]) -> None:
    """Register how modules of torch.nn become layers."""
    for name, lowering, summary in _LOWERINGS:
        register(
            f"torch.nn.{name}",
            f"evenfall_spinnaker2.lowering.torch_nn:{lowering}",
            host="torch",
            summary=summary,
        )


@hookimpl
def evenfall_register_commands(register: Callable[..., Any]) -> None:
    """Register `evenfall spinnaker2`."""
    register(
        "spinnaker2",
        "evenfall_spinnaker2.cli:app",
        summary="Networks on the chip SpiNNaker2: check, compile, emulate, explain.",
    )
