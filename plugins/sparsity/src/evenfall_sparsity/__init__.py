"""Weight sparsity for any torch module: prune it, at once or in training, and count what is left.

`evenfall_sparsity.training.trainer.TrainerSparsity` brings the training methods to transformers'
Trainer.
"""

from __future__ import annotations

from .compression import compress, restore
from .measurement import measure
from .pruning import keep_zeros, prune, release_masks
from .training import DeepRewiring, GradualPruning, RigL

__version__ = "0.1.0"

__all__ = [
    "DeepRewiring",
    "GradualPruning",
    "RigL",
    "compress",
    "keep_zeros",
    "measure",
    "prune",
    "release_masks",
    "restore",
]
