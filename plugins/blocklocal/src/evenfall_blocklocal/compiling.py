"""Compile a model in parts, so that what happens between them stays as it is."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn


def compile_part(
    name: str, module: nn.Module, boundaries: set[str], options: dict[str, Any]
) -> None:
    """Compile a module, or the parts of it if boundaries are inside; a boundary's own hook is
    outside of its forward."""
    if any(boundary.startswith(f"{name}.") for boundary in boundaries):
        for child, part in module.named_children():
            compile_part(f"{name}.{child}", part, boundaries, options)
    elif name in boundaries:
        _compile_forward(module, options)
    elif any(True for _ in module.parameters()):
        module.compile(**options)


def _compile_forward(module: nn.Module, options: dict[str, Any]) -> None:
    """Compile the forward alone, so that hooks run outside of it. It holds the module as an
    argument, which a deep copy of the module replaces by the copy."""
    if "forward" not in vars(module):
        module.forward = partial(torch.compile(type(module).forward, **options), module)
