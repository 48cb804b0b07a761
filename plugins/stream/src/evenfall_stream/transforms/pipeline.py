"""Make the transforms that a recipe lists."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch_geometric.transforms as pyg_transforms
from torch_geometric.transforms import BaseTransform, Compose

from evenfall.errors import closest, shorten
from evenfall.recipes import refuse_flags
from evenfall.references import import_reference

from .. import transforms as own_transforms


def make_transforms(
    steps: Sequence[str | dict[str, Any]],
    name: str = "augmentation",
    sensor_size: Sequence[int] | None = None,
) -> Compose:
    """The transforms of a list such as [RandomShift: {most: 0.1}, NormalizeSphere].

    The names are of evenfall_stream.transforms, or else of torch_geometric.transforms; or
    module:Name of your own subclass of torch_geometric's BaseTransform.

    Args:
        steps: names, or mappings of one name to its arguments.
        name: of the list, for messages.
        sensor_size: for the transforms that take one and that the list gives none.

    Raises:
        ReferenceImportError: your own transform cannot be imported.
        ValueError: a step has another form, a transform or argument is unknown, or an argument is
            out of range.
    """
    return Compose([_make(*_read(step, name), name, sensor_size) for step in steps])


def check_transforms(steps: Sequence[str | dict[str, Any]], name: str) -> None:
    """Check a list before the size of the sensor is known; as far as possible by making it.

    Raises:
        ReferenceImportError, ValueError: as `make_transforms`.
    """
    for step in steps:
        kind, make, options = _read(step, name)
        if "sensor_size" not in options and _takes_size(make):
            try:
                inspect.signature(make).bind(**options, sensor_size=None)
            except TypeError as error:
                raise ValueError(f"{name}, {kind}: {error}") from None
        else:
            _make(kind, make, options, name, None)


def _read(step: str | dict[str, Any], name: str) -> tuple[str, type[BaseTransform], dict[str, Any]]:
    """The name, the class and the arguments of a step."""
    if isinstance(step, str):
        step = {step: None}
    if not isinstance(step, dict) or len(step) != 1:
        raise ValueError(
            f"{name} must list transforms as NAME or NAME: {{...}}, got {shorten(step)}"
        )
    ((kind, options),) = step.items()
    if options is not None and not isinstance(options, dict):
        raise ValueError(f"{name}, {kind}: arguments must be a mapping, got {shorten(options)}")
    return str(kind), _find(str(kind), name), dict(options or {})


def _make(
    kind: str,
    make: type[BaseTransform],
    options: dict[str, Any],
    name: str,
    sensor_size: Sequence[int] | None,
) -> BaseTransform:
    if sensor_size is not None and "sensor_size" not in options and _takes_size(make):
        options = {**options, "sensor_size": list(sensor_size)}
    try:
        refuse_flags(make, options)
        return make(**options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}, {kind}: {error}") from None


def _takes_size(make: type[BaseTransform]) -> bool:
    return "sensor_size" in inspect.signature(make).parameters


def _find(kind: str, name: str) -> type[BaseTransform]:
    if ":" in kind:
        found = import_reference(kind, name)
        if not (inspect.isclass(found) and issubclass(found, BaseTransform)):
            raise ValueError(f"{name}: {kind!r} must be a subclass of BaseTransform")
        return found
    transforms = {
        each: getattr(module, each)
        for module in (pyg_transforms, own_transforms)
        for each in module.__all__
    }
    if kind not in transforms:
        raise ValueError(
            f"{name} has the unknown transform {shorten(kind)}.{closest(kind, transforms)}"
        )
    return transforms[kind]
