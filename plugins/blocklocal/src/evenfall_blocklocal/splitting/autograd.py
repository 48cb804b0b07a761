"""Which parameters a node of the autograd graph reaches, and which it reaches without another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor


class ParameterGraph:
    """The autograd graph behind some tensors.

    A set of parameters is an integer with a bit for each one: bit i is `parameters[i]`.

    Args:
        roots: nodes (`grad_fn`) at which the graph ends.
    """

    def __init__(self, roots: Iterable[Any]) -> None:
        self.roots = list(roots)
        self.parameters: list[Tensor] = []
        self._reached: dict[Any, int] = {}  # also keeps the nodes alive, so that they stay unique
        for root in self.roots:
            self._visit(root)

    def __contains__(self, node: object) -> bool:
        return node in self._reached

    def reached(self, nodes: Iterable[Any]) -> int:
        """The parameters that lead to any of `nodes`."""
        found = 0
        for node in nodes:
            found |= self._reached.get(node, 0)
        return found

    def reached_without(self, stops: set[Any]) -> int:
        """The parameters that lead to the roots on a path that avoids all of `stops`."""
        found, seen = 0, set(stops)
        waiting = [root for root in self.roots if root not in seen]
        while waiting:
            node = waiting.pop()
            if node in seen:
                continue
            seen.add(node)
            variable = getattr(node, "variable", None)
            if variable is not None:
                found |= self._reached[node]
            waiting.extend(other for other, _ in node.next_functions if other is not None)
        return found

    def names(self, found: int, names: dict[int, str]) -> list[str]:
        """The names of a set of parameters, from id -> name; others are not listed."""
        ids = (id(p) for i, p in enumerate(self.parameters) if found >> i & 1)
        return [names[one] for one in ids if one in names]

    def _visit(self, root: Any) -> None:
        waiting = [(root, False)]
        while waiting:
            node, is_done = waiting.pop()
            if node is None or (node in self._reached and not is_done):
                continue
            variable = getattr(node, "variable", None)
            if variable is not None:
                self._reached[node] = 1 << len(self.parameters)
                self.parameters.append(variable)
                continue
            before = [other for other, _ in node.next_functions if other is not None]
            if is_done:
                self._reached[node] = self.reached(before)
            else:
                self._reached[node] = 0
                waiting.append((node, True))
                waiting.extend((other, False) for other in before)
