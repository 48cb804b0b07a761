"""Import a plugin's module without the package around it.

`import evenfall_egru.plugin` first runs `evenfall_egru/__init__.py`, which imports torch and
transformers. That takes seconds, to learn a few names. Here the plugin module is found and run
alone. A command is a package of its own: it is imported while the packages around it wait.
"""

from __future__ import annotations

import importlib
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any


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


def import_before_package(name: str) -> ModuleType:
    """Import the module `name`, and what it imports beside it, before the packages around it run.

    The packages run when one of their names is asked for, as by `from .. import x`. If none is
    asked for, no module stays in `sys.modules`, so a later import is an ordinary one. If the
    package is already imported, or is not found, this is an ordinary import, too.
    """
    outer = name.split(".")[:-1]
    packages = [".".join(outer[:count]) for count in range(1, len(outer) + 1)]
    waiting = [_waiting(package) for package in packages]
    if not packages or packages[0] in sys.modules or None in waiting:
        return importlib.import_module(name)
    before = set(sys.modules)
    sys.modules.update(zip(packages, filter(None, waiting), strict=True))
    try:
        return importlib.import_module(name)
    finally:
        if isinstance(waiting[0], _Waiting):
            for other in set(sys.modules) - before:
                if other.partition(".")[0] == packages[0]:
                    del sys.modules[other]
        else:
            for module in waiting:
                _run(module)


class _Waiting(ModuleType):
    """A package whose `__init__` has not run. It runs, after those of the packages around it, when
    one of its names is asked for."""

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        outer, _, own = self.__name__.rpartition(".")
        if outer:
            getattr(sys.modules[outer], own, None)
        _run(self)
        return getattr(self, name)


def _run(module: Any) -> None:
    if isinstance(module, _Waiting):
        module.__class__ = ModuleType  # type: ignore[assignment]
        module.__spec__.loader.exec_module(module)  # type: ignore[union-attr]


def _waiting(package: str) -> ModuleType | None:
    spec = _find(package)
    if spec is None or spec.loader is None:
        return None
    module = module_from_spec(spec)
    module.__class__ = _Waiting
    return module


def _find(name: str) -> ModuleSpec | None:
    top, *rest = name.split(".")
    spec = find_spec(top)
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        spec = PathFinder.find_spec(f"{spec.name}.{part}", spec.submodule_search_locations)
    return spec
