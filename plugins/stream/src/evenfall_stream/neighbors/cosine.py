"""Cosine distances as Euclidean distances: |a/|a| - b/|b||^2 = 2 (1 - cos(a, b))."""

from __future__ import annotations

from torch import Tensor

from ..checks import Check


def directions(x: Tensor) -> Tensor:
    """(N, D) rows to unit vectors in float64 (float32 on MPS), which lacks it."""
    wide = x.float() if x.device.type == "mps" else x.double()
    scaled = wide / wide.abs().amax(1, keepdim=True)  # squares of tiny or huge rows stay finite
    return scaled / scaled.square().sum(1, keepdim=True).sqrt()


def has_direction(x: Tensor, name: str) -> Check:
    """Every row of (N, D) points differs from the origin."""
    at_origin = (x == 0).all(1)

    def error() -> Exception:
        row = int(at_origin.nonzero()[0])
        return ValueError(
            f"{name} must not contain the origin with cosine=True: it has no direction; "
            f"got zeros at point {row}"
        )

    return Check(~at_origin.any(), f"{name} must not contain the origin with cosine=True", error)
