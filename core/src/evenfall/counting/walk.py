"""Over a whole model: its matrices, and the operations of one call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from .lookup import CounterTable, class_of, without_wrappers
from .statements import Counter, Matrix, Operations

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


@dataclass(frozen=True, slots=True)
class OperationCount:
    """What `count_operations` returns.

    Attributes:
        total: the sum over the modules.
        modules: operations by the name of the module, "" for the model itself.
        unknown: modules that may multiply weights and that no counter knows, by name: their class.
        not_called: modules with matrices that were not called. Their weights may have been used in
            another way, and are not in the total.
    """

    total: Operations
    modules: dict[str, Operations]
    unknown: dict[str, str]
    not_called: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PlacedMatrix:
    """A matrix in a model.

    Attributes:
        module: name of its module in the model.
        matrix: what it is there.
        weight: the tensor.
        shared_with: full name of the first matrix that is the same tensor, or None.
    """

    module: str
    matrix: Matrix
    weight: Any = field(repr=False)
    shared_with: str | None = None

    @property
    def name(self) -> str:
        """Name of the parameter in the model."""
        return f"{self.module}.{self.matrix.parameter}" if self.module else self.matrix.parameter


def count_operations(model: Any, *args: Any, **kwargs: Any) -> OperationCount:
    """Call model(*args, **kwargs) once, without gradient and without torch.compile, and count.

    Args:
        model: a torch.nn.Module, in the mode that is to be counted; its wrappers are looked
            through. Names are those of the model without its wrappers.
        *args, **kwargs: what it is called with.

    Returns:
        The sum and the parts. It is complete where `unknown` and `not_called` are empty.

    Raises:
        RegistryError: a counter is registered wrongly.
        Exception: whatever the model raises.
    """
    import torch

    model = without_wrappers(model)
    known, unknown = _parts(model)
    counts: dict[str, Operations] = {}
    hooks = []
    try:
        for name, (module, counter) in known.items():
            hook = _hook(name, counter, counts)
            hooks.append(module.register_forward_hook(hook, with_kwargs=True))
        with torch.no_grad(), _eager():
            model(*args, **kwargs)
    finally:
        for handle in hooks:
            handle.remove()
    missed = [
        name
        for name, (module, counter) in known.items()
        if name not in counts and counter.matrices(module)
    ]
    return OperationCount(sum(counts.values(), Operations()), counts, unknown, tuple(missed))


def list_matrices(model: Any) -> list[PlacedMatrix]:
    """Every matrix that a counter states, in the order of the modules; tied ones each time.

    Args:
        model: a torch.nn.Module.

    Raises:
        RegistryError: a counter is registered wrongly.
    """
    first: dict[int, str] = {}
    found = []
    for name, (module, counter) in _parts(without_wrappers(model))[0].items():
        for matrix in counter.matrices(module):
            placed = PlacedMatrix(name, matrix, matrix.of(module))
            same = first.setdefault(id(placed.weight), placed.name)
            if same != placed.name:
                placed = PlacedMatrix(name, matrix, placed.weight, same)
            found.append(placed)
    return found


def _parts(model: Any) -> tuple[dict[str, tuple[Any, Counter]], dict[str, str]]:
    """The modules that counters know, and the classes of those that none knows, by name."""
    table = CounterTable()
    known: dict[str, tuple[Any, Counter]] = {}
    unknown: dict[str, str] = {}
    for name, module, counter in _visit("", model, table, set()):
        if counter is not None:
            known[name] = (module, counter)
        else:
            kind = class_of(module)
            unknown[name] = f"{kind.__module__}.{kind.__qualname__}"
    return known, unknown


def _visit(
    name: str, module: Any, table: CounterTable, seen: set[int]
) -> Iterator[tuple[str, Any, Counter | None]]:
    """Each module that a counter knows, and each that none knows and that may multiply weights."""
    module = without_wrappers(module)
    if id(module) in seen:
        return
    seen.add(id(module))
    counter = table.find(module)
    children = [] if counter is not None else _children(module)
    if counter is not None or _may_multiply(module, children):
        yield name, module, counter
    for child_name, child in children:
        yield from _visit(f"{name}.{child_name}" if name else child_name, child, table, seen)


def _children(module: Any) -> list[tuple[str, Any]]:
    """The submodules, without those that only make the module's own weights."""
    parametrised = class_of(module) is not type(module)
    return [
        (name, child)
        for name, child in module.named_children()
        if not (parametrised and name == "parametrizations")
    ]


def _may_multiply(module: Any, children: list[tuple[str, Any]]) -> bool:
    """Whether a module does more than call its submodules: it has tensors, or no submodules."""
    import torch

    if not children:
        return type(module) not in [getattr(torch.nn, name) for name in _CONTAINERS]
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own) or class_of(module) is not type(module)


def _hook(name: str, counter: Counter, counts: dict[str, Operations]) -> Any:
    def count(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        bound = inspect.signature(class_of(module).forward).bind(module, *args, **kwargs)  # type: ignore[attr-defined]
        _, *names = bound.arguments
        inputs = {argument: bound.arguments[argument] for argument in names}
        counts[name] = counts.get(name, Operations()) + counter.count(module, inputs, output)

    return count


def _eager() -> AbstractContextManager[Any]:
    """Compiled parts run as they were written, so that hooks inside them are called."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    import torch

    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
