"""What a plugin states about its models so that they can be split into blocks.

    >>> from evenfall.splitters import splitter_for
    >>> splitter_for(model).example_inputs(model)
    ((tensor(...), tensor(...)), {})

A splitter knows one class of models and is registered under its public path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from evenfall import registry
from evenfall.class_lookup import ClassTable, inherits


@dataclass(frozen=True, slots=True)
class Splitter:
    """What splitting a class of models needs to know. Each entry may be None.

    Attributes:
        example_inputs: model -> (positional, keyword) arguments of a small call in training mode.
        boundaries: model -> names of the modules after which it may be cut; None for every module
            whose output alone leads to the loss.
        features: (positional arguments of a module, its output, arguments of the model by name) ->
            a tensor of features, and the number of the graph of each row or None. None for outputs
            that are a tensor, or a tuple that begins with one.
    """

    example_inputs: Callable[[Any], tuple[tuple[Any, ...], dict[str, Any]]] | None = None
    boundaries: Callable[[Any], Sequence[str]] | None = None
    features: Callable[[tuple[Any, ...], Any, dict[str, Any]], tuple[Any, Any]] | None = None


def splitter_for(model: Any) -> Splitter | None:
    """The splitter that knows `model`, or None.

    Wrappers of torch.compile, DDP and FSDP are ignored. The class of the model, or a base class
    whose `forward` it inherits, must be identical to the registered class.

    Raises:
        RegistryError: the registered reference is not a Splitter.
        ReferenceImportError: it cannot be imported.
    """
    found = ClassTable(registry.splitters.entries()).find(model)
    if found is None or not inherits(model, found[1], ("forward",)):
        return None
    splitter: Splitter = registry.splitters.get_as(found[0].name, Splitter)
    return splitter
