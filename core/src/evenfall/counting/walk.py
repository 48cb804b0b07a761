"""The matrices of a whole model, and the operations of one call."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from evenfall.class_lookup import class_of, without_wrappers

from .lookup import CounterTable
from .outside import watch_products
from .products import Product, record_products
from .statements import Activity, Counter, Matrix, Operations

_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")


@dataclass(frozen=True, slots=True)
class OperationCount:
    """What `count_operations` returns.

    Attributes:
        total: the sum over the modules.
        modules: name of a module -> its operations; "" is the model itself.
        unknown: name -> class of each module that may multiply weights and has no counter, and of
            each that multiplies a submodule's weight itself, as a head tied to an embedding does.
        not_called: names of modules with matrices that were not called. Their weights may have been
            used in another way; the total does not include them.
        products: full name of a matrix -> what multiplied it: one product for each part that is
            multiplied alone, as the query, key and value parts of an attention's in_proj_weight.
        activity: name of a module -> the outputs of its units.
    """

    total: Operations
    modules: dict[str, Operations]
    unknown: dict[str, str]
    not_called: tuple[str, ...]
    products: dict[str, tuple[Product, ...]] = field(default_factory=dict)
    activity: dict[str, Activity] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlacedMatrix:
    """A matrix of a model.

    Attributes:
        module: name of its module in the model.
        matrix: the statement of the module's counter.
        weight: the tensor.
        shared_with: full name of the first matrix that is the same tensor, or None.
        holder: the module that has the parameter: the module itself, or a part that it uses without
            calling it.
    """

    module: str
    matrix: Matrix
    weight: Any = field(repr=False)
    shared_with: str | None = None
    holder: Any = field(repr=False, default=None)

    @property
    def name(self) -> str:
        """The name of the parameter in the model."""
        return f"{self.module}.{self.matrix.parameter}" if self.module else self.matrix.parameter


def count_operations(model: Any, *args: Any, **kwargs: Any) -> OperationCount:
    """Call model(*args, **kwargs) once, without gradients and torch.compile, and count.

    Args:
        model: a torch.nn.Module, in the mode (train or eval) to count. Wrappers are ignored: names
            are those of the model inside.
        *args, **kwargs: the arguments of the call.

    Returns:
        The total and its parts. It is complete if `unknown` and `not_called` are empty.

    Raises:
        RegistryError: a registered counter is not a Counter.
        Exception: any error that the model raises.
    """
    import torch

    model = without_wrappers(model)
    known, others = split_modules(model)
    counted = [module for module, _ in known.values()]
    unknown = {name: _class_name(module) for name, (module, may) in others.items() if may}
    multiplying: list[str] = []
    record = _Record()
    hooks = []
    try:
        for name, (module, counter) in known.items():
            hook = _hook(name, counter, record)
            hooks.append(module.register_forward_hook(hook, with_kwargs=True))
        bare = {name: module for name, (module, _) in others.items()}
        with torch.no_grad(), _eager(), watch_products(counted, bare, multiplying):
            model(*args, **kwargs)
    finally:
        for handle in hooks:
            handle.remove()
    not_called = tuple(
        name
        for name, (module, counter) in known.items()
        if name not in record.counts and counter.matrices(module)
    )
    unknown |= {name: _class_name(others[name][0]) for name in multiplying}
    return OperationCount(
        sum(record.counts.values(), Operations()),
        record.counts,
        unknown,
        not_called,
        {name: tuple(parts.values()) for name, parts in record.products.items()},
        record.activity,
    )


def list_matrices(model: Any) -> list[PlacedMatrix]:
    """Every matrix that a counter states, in the order of the modules; shared ones at each use.

    Args:
        model: a torch.nn.Module.

    Raises:
        RegistryError: a registered counter is not a Counter.
    """
    first: dict[int, str] = {}
    matrices = []
    for name, (module, counter) in split_modules(without_wrappers(model))[0].items():
        for matrix in counter.matrices(module):
            holder = module.get_submodule(matrix.parameter.rpartition(".")[0])
            weight = matrix.of(module)
            full = f"{name}.{matrix.parameter}" if name else matrix.parameter
            same = first.setdefault(id(weight), full)
            shared_with = None if same == full else same
            matrices.append(PlacedMatrix(name, matrix, weight, shared_with, holder))
    return matrices


def split_modules(
    model: Any,
) -> tuple[dict[str, tuple[Any, Counter]], dict[str, tuple[Any, bool]]]:
    """By name: the modules that have a counter; and those that have none, and whether they may
    multiply weights of their own."""
    table = CounterTable()
    known: dict[str, tuple[Any, Counter]] = {}
    others: dict[str, tuple[Any, bool]] = {}
    for name, module, counter in _visit("", model, table, set()):
        if counter is not None:
            known[name] = (module, counter)
        else:
            others[name] = (module, _may_multiply(module))
    return known, others


def _visit(
    name: str, module: Any, table: CounterTable, seen: set[int]
) -> Iterator[tuple[str, Any, Counter | None]]:
    """Each module with its counter, if it has one, without the modules inside counted ones."""
    module = without_wrappers(module)
    if id(module) in seen:
        return
    seen.add(id(module))
    counter = table.find(module)
    if counter is not None and counter.links is not None:
        counter = None  # it counts nothing itself
    yield name, module, counter
    for child_name, child in [] if counter is not None else _children(module):
        yield from _visit(f"{name}.{child_name}" if name else child_name, child, table, seen)


def _children(module: Any) -> list[tuple[str, Any]]:
    """The submodules, without the parametrisations of the module's own weights."""
    parametrised = class_of(module) is not type(module)
    return [
        (name, child)
        for name, child in module.named_children()
        if not (parametrised and name == "parametrizations")
    ]


def _class_name(module: Any) -> str:
    kind = class_of(module)
    return f"{kind.__module__}.{kind.__qualname__}"


def _may_multiply(module: Any) -> bool:
    """Whether a module may do more than call its submodules: it has tensors, or no submodules."""
    import torch

    if not _children(module):
        return type(module) not in [getattr(torch.nn, name) for name in _CONTAINERS]
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return bool(own) or class_of(module) is not type(module)


@dataclass
class _Record:
    """What the hooks of one call have counted so far."""

    counts: dict[str, Operations] = field(default_factory=dict)
    products: dict[str, dict[Any, Product]] = field(default_factory=dict)
    activity: dict[str, Activity] = field(default_factory=dict)

    def add_product(self, name: str, product: Product) -> None:
        parts = self.products.setdefault(name, {})
        part = _range(product.weight)
        parts[part] = parts[part] + product if part in parts else product


def _hook(name: str, counter: Counter, record: _Record) -> Any:
    def count(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        kind: Any = class_of(module)
        bound = inspect.signature(kind.forward).bind(module, *args, **kwargs)
        _, *names = bound.arguments
        inputs = {argument: bound.arguments[argument] for argument in names}
        with _fixed_weights(), record_products() as found:
            counted = counter.count(module, inputs, output)
            matrices = [(one.parameter, one.of(module)) for one in counter.matrices(module)]
        record.counts[name] = record.counts.get(name, Operations()) + counted
        for product in found:
            parameter = next((p for p, weight in matrices if _holds(weight, product.weight)), None)
            if parameter is not None:
                record.add_product(f"{name}.{parameter}" if name else parameter, product)
        active = counter.activity and counter.activity(module, inputs, output)
        if active is not None:
            before = record.activity.get(name)
            record.activity[name] = active if before is None else before + active

    return count


def _fixed_weights() -> AbstractContextManager[Any]:
    """A parametrised weight is computed once in the block, so it is one tensor."""
    parametrize = sys.modules.get("torch.nn.utils.parametrize")
    return nullcontext() if parametrize is None else parametrize.cached()


def _range(tensor: Any) -> tuple[int, int]:
    """The first address of a dense tensor and the one after its last."""
    return tensor.data_ptr(), tensor.data_ptr() + tensor.numel() * tensor.element_size()


def _holds(whole: Any, part: Any) -> bool:
    first, end = _range(whole)
    start, stop = _range(part)
    return first <= start and stop <= end


def _eager() -> AbstractContextManager[Any]:
    """Run compiled parts as plain Python, so that hooks inside them are called."""
    if "torch._dynamo" not in sys.modules:
        return nullcontext()
    import torch

    stance: AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance
