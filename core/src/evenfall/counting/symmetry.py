"""Groups of units of a model that can be permuted without changing what it computes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from evenfall.class_lookup import without_wrappers

from .lookup import CounterTable
from .statements import Units
from .walk import split_modules


@dataclass(frozen=True, slots=True)
class PlacedAxis:
    """An axis of a tensor of a model, whose places are units, once in each gate.

    Attributes:
        name: full name of the parameter or buffer.
        tensor: the parameter or buffer.
        axis: the axis.
        gates: how many equal parts the axis has; each contains every unit.
    """

    name: str
    tensor: Any = field(repr=False)
    axis: int
    gates: int


@dataclass(frozen=True, slots=True)
class UnitGroup:
    """Units of a model, and every axis in which they occur; a tied tensor once."""

    size: int
    axes: tuple[PlacedAxis, ...]


@dataclass(eq=False)
class _Node:
    """Units of one module, joined with those of others that are the same."""

    axes: list[PlacedAxis]
    waits: set[str]  # "read" and "written" until a link says with whom
    joined: _Node | None = None
    fixed: bool = False

    def root(self) -> _Node:
        return self if self.joined is None else self.joined.root()

    def join(self, other: _Node) -> None:
        one, two = self.root(), other.root()
        if one is not two:
            two.joined = one
            one.axes += two.axes
            one.fixed = one.fixed or two.fixed


def find_unit_groups(model: Any) -> list[UnitGroup]:
    """The groups of hidden units that can be permuted, in the order of the modules.

    Units that come from outside of the model or leave it stay as they are, and so do those that a
    module without a statement may read, or whose tensor is also used in another way.

    Args:
        model: a torch.nn.Module.

    Raises:
        RegistryError: a registered counter is not a Counter.
        ValueError: a statement does not fit its module.
    """
    model = without_wrappers(model)
    nodes: list[_Node] = []
    reads: dict[str, _Node] = {}
    writes: dict[str, _Node] = {}
    for name, (module, counter) in split_modules(model)[0].items():
        for units in counter.units(module):
            node = _node(name, module, units)
            nodes.append(node)
            reads |= {name: node} if units.read else {}
            writes |= {name: node} if units.written else {}
    for writer, reader in _links(model):
        if writer in writes and reader in reads:
            writes[writer].waits.discard("written")
            reads[reader].waits.discard("read")
            writes[writer].join(reads[reader])
        elif writer in writes:
            writes[writer].fixed = True  # an unknown module reads it
    _join_tied(nodes, model)
    for node in nodes:
        if node.waits or node.fixed:
            node.root().fixed = True
    roots = [node for node in nodes if node.joined is None and not node.fixed]
    return [_group(root) for root in roots if root.axes]


def _node(name: str, module: Any, units: Units) -> _Node:
    axes = []
    for one in units.axes:
        path, _, attribute = one.parameter.rpartition(".")
        tensor = getattr(module.get_submodule(path), attribute)
        full = f"{name}.{one.parameter}" if name else one.parameter
        axes.append(PlacedAxis(full, tensor, one.axis, one.gates))
    waits = {port for port in ("read", "written") if getattr(units, port)}
    return _Node(axes, waits)


def _links(model: Any) -> Iterator[tuple[str, str]]:
    """(writer, reader) of every link, by full names."""
    table = CounterTable()
    for name, module in model.named_modules():
        counter = table.find(module)
        if counter is not None and counter.links is not None:
            for link in counter.links(without_wrappers(module)):
                prefix = f"{name}." if name else ""
                yield prefix + link.writer, prefix + link.reader


def _join_tied(nodes: list[_Node], model: Any) -> None:
    """Join nodes with the same axis of one tensor; fix those whose tensor has another use."""
    first: dict[tuple[int, int], tuple[_Node, int]] = {}
    stated: dict[tuple[int, int], set[str]] = {}
    for node in nodes:
        for one in list(node.axes):
            key = (id(one.tensor), one.axis)
            stated.setdefault(key, set()).add(one.name)
            other, gates = first.setdefault(key, (node, one.gates))
            if gates == one.gates:
                other.join(node)
            else:
                other.fixed = node.fixed = True
    names: dict[int, set[str]] = {}
    for name, tensor in (
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ):
        names.setdefault(id(tensor), set()).add(name)
    for (tensor_id, axis), known in stated.items():
        if names.get(tensor_id, set()) - known:
            first[tensor_id, axis][0].fixed = True


def _group(root: _Node) -> UnitGroup:
    by_axis: dict[tuple[int, int], PlacedAxis] = {}
    for one in root.axes:
        by_axis.setdefault((id(one.tensor), one.axis), one)
    axes = list(by_axis.values())
    sizes = {one.tensor.shape[one.axis] / one.gates for one in axes}
    if len(sizes) != 1 or not next(iter(sizes)).is_integer():
        raise ValueError(
            "model: units that are linked have different numbers: "
            + ", ".join(f"{one.name} axis {one.axis} {tuple(one.tensor.shape)}" for one in axes[:4])
        )
    return UnitGroup(int(sizes.pop()), tuple(axes))
