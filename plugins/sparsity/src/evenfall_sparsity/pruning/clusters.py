"""Clusters of units whose large weights are at the same places.

Dimensions: U units, F features, K clusters.
"""

from __future__ import annotations

from typing import Any

import numpy as np

_PASSES = 8  # of swaps over all units; later ones change little


def cluster(similarity: Any, size: int) -> Any:
    r"""An order of units in which every `size` neighbours are similar.

    It maximises the sum of the similarities within clusters,

    .. math:: \sum_k \sum_{u, v \in k} S_{uv},

    first greedily, then by swaps of two units for as long as they gain.

    Args:
        similarity: S, (U, U), symmetric, with the similarity of a unit to itself on the diagonal.
        size: units of a cluster; the last one is smaller if U is no multiple.

    Returns:
        (U,) the units in their new order.
    """
    similarity = np.ascontiguousarray(similarity, dtype=np.float64)
    label = _greedy(similarity, size)
    _swap(similarity, label)
    return np.argsort(label, kind="stable")


def _greedy(similarity: Any, size: int) -> Any:
    """(U,) the cluster of each unit: begin with the strongest unit that is left, add the most
    similar ones."""
    units = len(similarity)
    label = np.full(units, -1)
    strength = similarity.diagonal().copy()
    for start in range(0, units, size):
        unit = int(strength.argmax())
        affinity = np.zeros(units)
        for _ in range(min(size, units - start)):
            label[unit], strength[unit] = start // size, -np.inf
            affinity += similarity[unit]
            unit = int(np.where(label < 0, affinity, -np.inf).argmax())
    return label


def _swap(similarity: Any, label: Any) -> None:
    """Swap units between clusters, in place, while the sum within clusters grows."""
    units, clusters = len(similarity), int(label.max()) + 1
    member = np.zeros((units, clusters))
    member[np.arange(units), label] = 1
    affinity = similarity @ member  # (U, K): the similarity of a unit to each cluster
    own = similarity.diagonal()
    least = 1e-9 * float(own.sum())
    for _ in range(_PASSES):
        swaps = 0
        for unit in range(units):
            mine = label[unit]
            inside = affinity[np.arange(units), label]
            gain = affinity[unit, label] - affinity[unit, mine] + affinity[:, mine] - inside
            gain += own[unit] + own - 2 * similarity[unit]
            gain[label == mine] = -np.inf
            other = int(gain.argmax())
            if gain[other] > least:
                theirs = label[other]
                moved = similarity[other] - similarity[unit]
                affinity[:, mine] += moved
                affinity[:, theirs] -= moved
                label[unit], label[other] = theirs, mine
                swaps += 1
        if not swaps:
            break
