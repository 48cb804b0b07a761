"""Evenfall: event-based and sparse sequence models for the frameworks that people already use.

This package is the core: it finds plugins, keeps what they register and chooses kernels. Public
names are imported on first use, so `import evenfall` is quick and imports no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from evenfall.version import __version__

if TYPE_CHECKING:
    from evenfall import registry
    from evenfall.backends import use_backend
    from evenfall.exporting import export
    from evenfall.hookspecs import Register, RegisterKernel, hookimpl
    from evenfall.patches import patch
    from evenfall.registry import load_plugins, plugins

__all__ = [
    "Register",
    "RegisterKernel",
    "__version__",
    "export",
    "hookimpl",
    "load_plugins",
    "patch",
    "plugins",
    "registry",
    "use_backend",
]

_HOME = {
    "Register": "evenfall.hookspecs:Register",
    "RegisterKernel": "evenfall.hookspecs:RegisterKernel",
    "export": "evenfall.exporting:export",
    "hookimpl": "evenfall.hookspecs:hookimpl",
    "load_plugins": "evenfall.registry:load_plugins",
    "patch": "evenfall.patches:patch",
    "plugins": "evenfall.registry:plugins",
    "registry": "evenfall.registry:",
    "use_backend": "evenfall.backends:use_backend",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it.

    Raises:
        AttributeError: `name` is not a public name.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'evenfall' has no attribute {name!r}; it has {__all__}")
    module_name, _, attribute = _HOME[name].partition(":")
    module = importlib.import_module(module_name)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
