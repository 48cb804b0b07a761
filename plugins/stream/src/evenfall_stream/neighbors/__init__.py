"""Farthest point sampling and nearest neighbours, with torch_geometric's signatures."""

from .queries import fps, knn

__all__ = ["fps", "knn"]
