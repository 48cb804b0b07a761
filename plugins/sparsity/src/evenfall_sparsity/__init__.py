"""Weight sparsity for any torch module: prune it and count what is left."""

from __future__ import annotations

from .pruning import keep_zeros, prune, release_masks

__version__ = "0.1.0"

__all__ = ["keep_zeros", "prune", "release_masks"]
