"""Evenfall's exporter for the neuromorphic chip SpiNNaker2: check, compile, emulate, explain.

Images are verified by an emulator; none was run on hardware. Public names are imported on first
use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .checking import check
    from .compiling import compile
    from .emulator import Emulator
    from .image import Image, load_image
    from .reporting import report
    from .tracing import trace

__all__ = ["Emulator", "Image", "check", "compile", "load_image", "report", "trace"]

_HOME = {
    "check": "evenfall_spinnaker2.checking",
    "compile": "evenfall_spinnaker2.compiling",
    "Emulator": "evenfall_spinnaker2.emulator",
    "Image": "evenfall_spinnaker2.image",
    "load_image": "evenfall_spinnaker2.image",
    "report": "evenfall_spinnaker2.reporting",
    "trace": "evenfall_spinnaker2.tracing",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it.

    Raises:
        AttributeError: `name` is not a public name.
    """
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {__all__}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
