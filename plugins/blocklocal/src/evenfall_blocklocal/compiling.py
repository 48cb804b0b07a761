"""Compile a model in parts, so that what happens between them stays as it is."""

from __future__ import annotations

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
        module.forward = torch.compile(module.forward, **options)
    elif any(True for _ in module.parameters()):
        module.compile(**options)
