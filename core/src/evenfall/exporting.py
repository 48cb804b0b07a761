"""`evenfall.export`: a model becomes a graph, by the lowering of its class, and the graph becomes
what an exporter writes."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenfall import registry
from evenfall.class_lookup import ClassTable, class_of, inherits, without_wrappers
from evenfall.errors import LoweringError
from evenfall.lowering import GraphBuilder, Lowering

if TYPE_CHECKING:
    from evenfall.graph import Graph


def export(model: Any, target: str, output: str | Path, **options: Any) -> Any:
    """Write a model for a target, such as the chip "spinnaker2".

    Args:
        model: a module whose class has a lowering, or an `evenfall.graph.Graph`.
        target: the name of a registered exporter.
        output: the folder to write.
        **options: options of the exporter.

    Returns:
        What the exporter returns.

    Raises:
        UnknownNameError: no exporter has this name.
        LoweringError: a part of the model has no lowering, or cannot be lowered.
        ValueError: the model does not fit the target, or an option is wrong.
    """
    return registry.exporters.get(target)(model, output, **options)


def lower(model: Any) -> Graph:
    """The graph of a model.

    Wrappers of torch.compile, DDP and parametrisation are ignored. The lowering of a class also
    holds for subclasses that override none of its methods. Hooks are left out, with a warning.

    Raises:
        LoweringError: the class of the model or of a part has no lowering, or the lowering refuses
            it; the message says what and why.
        RegistryError: a registered lowering is not a Lowering.
    """
    from evenfall.graph import Graph

    table = ClassTable(registry.lowerings.entries())

    def lower_part(module: Any, builder: GraphBuilder) -> None:
        module = without_wrappers(module)
        found = table.find(module)
        if found is None:
            raise LoweringError(_unknown(module, builder.path))
        entry, base = found
        lowering = registry.lowerings.get_as(entry.name, Lowering)
        if not inherits(module, base, lowering.methods):
            raise LoweringError(_unknown(module, builder.path))
        lowering.lower(module, builder)

    _look_through(without_wrappers(model))
    builder = GraphBuilder(lower_part)
    lower_part(model, builder)
    kind = class_of(without_wrappers(model))
    builder.metadata.setdefault("model", f"{kind.__module__}.{kind.__qualname__}")
    try:
        return Graph(builder.layers, tuple(builder.edges), builder.metadata)
    except ValueError as error:
        raise LoweringError(f"model: {error}") from error


def _look_through(model: Any) -> None:
    """Refuse weights that no graph holds, and warn of hooks, which may change what modules return.

    The hooks of torch.nn.utils only make a weight of its parts.
    """
    if isinstance(model, type) or not hasattr(model, "named_modules"):
        return
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise LoweringError(f"model: {name} is on the device 'meta' and has no values")
        if parameter.is_complex():
            raise LoweringError(f"model: {name} has complex numbers, want real ones")
    for name, module in model.named_modules():
        hooks = [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]
        if any(not type(hook).__module__.startswith("torch.nn.utils") for hook in hooks):
            where = f"module {name!r}" if name else "the model"
            warnings.warn(f"{where} has forward hooks, which are not exported", stacklevel=3)


def _unknown(module: Any, path: str) -> str:
    if isinstance(module, type):
        return f"model: got the class {module.__qualname__}, want an instance"
    kind = class_of(module)
    where = f"module {path!r}" if path else "model"
    known = ", ".join(registry.lowerings.names()) or "none"
    return (
        f"{where}: {kind.__module__}.{kind.__qualname__} has no lowering; classes that have one: "
        f"{known}"
    )
