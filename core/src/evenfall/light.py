"""Import a plugin's module without the package around it.

`import evenfall_egru.plugin` first runs `evenfall_egru/__init__.py`, which imports torch and
transformers. That takes seconds, to learn a few names. Here the plugin module is found and run
alone.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec
from types import ModuleType


def load_light(entry_point: EntryPoint) -> object:
    """The object that the entry point names: "package.module" or "package.module:attribute".

    Raises:
        Exception: any error that the module raises.
    """
    value: object = import_alone(entry_point.module)
    for attribute in filter(None, (entry_point.attr or "").split(".")):
        value = getattr(value, attribute)
    return value


def import_alone(name: str) -> ModuleType:
    """Import the module `name` without running the `__init__` of its packages.

    If the package is already imported, or the module is not found, this is an ordinary import. The
    module does not stay in `sys.modules`, so a later import is an ordinary one with its package.
    """
    package = name.rpartition(".")[0]
    spec = None if not package or package in sys.modules else _find(name)
    if spec is None or spec.loader is None or name in sys.modules:
        return importlib.import_module(name)
    module = module_from_spec(spec)
    # Code that runs at import, such as dataclasses, looks up its own module.
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
