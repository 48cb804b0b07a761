"""How far the choices of an image and of PyTorch agree."""

from __future__ import annotations

from typing import Any

import numpy as np


def agreement(wanted: Any, got: Any, labels: Any) -> dict[str, Any]:
    """The columns of a row: both accuracies, and the samples with another choice.

    Args:
        wanted: (N,) classes that PyTorch chooses.
        got: (N,) classes that the image chooses.
        labels: (N,) the right ones.
    """
    wanted, got, labels = map(np.asarray, (wanted, got, labels))
    return {
        "accuracy, PyTorch": float((wanted == labels).mean()),
        "accuracy, image": float((got == labels).mean()),
        "other choices": int((got != wanted).sum()),
        "images with another choice": np.flatnonzero(got != wanted).tolist(),
    }
