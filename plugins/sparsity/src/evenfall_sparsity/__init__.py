"""Weight sparsity for any torch module: prune it and count what is left."""

from __future__ import annotations

__all__: list[str] = []
