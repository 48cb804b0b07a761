"""Import a plugin's module without the package around it.

`import evenfall_egru.plugin` runs `evenfall_egru/__init__.py` first, which may well import torch
and a host framework: seconds, only to learn a few names. A plugin module is found and run by
itself.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def load_light(entry_point: EntryPoint) -> object:
    """What the entry point names, "package.module" or "package.module:attribute".

    Raises:
        Exception: whatever the module raises, as an ordinary import would.
    """
    value: object = import_alone(entry_point.module)
    for attribute in filter(None, (entry_point.attr or "").split(".")):
        value = getattr(value, attribute)
    return value


def import_alone(name: str) -> ModuleType:
    """Import the module `name` without running the `__init__` of the packages that hold it.

    Where a package is imported already, or the module is not found, this is an ordinary import. The
    module does not stay in `sys.modules`: a later import is an ordinary one, with its package.
    """
    package = name.rpartition(".")[0]
    spec = None if not package or package in sys.modules else _find(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return importlib.import_module(name)
    module = module_from_spec(spec)
    # Dataclasses and other code that runs at import look their own module up.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        sys.modules.pop(name, None)
    return module


def _find(name: str) -> ModuleSpec | None:
    top, *rest = name.split(".")
    spec = find_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec
