"""Remove weights at once: matrices, blocks, scores, exact selection, masks."""

from .masks import masks_of, release_masks
from .one_shot import PrunedMatrix, Pruning, keep_zeros, prune

__all__ = ["PrunedMatrix", "Pruning", "keep_zeros", "masks_of", "prune", "release_masks"]
