"""Eventide: event-based and sparse sequence models for the frameworks that people already use.

This package is the core: it finds plugins, keeps what they register and picks kernels. Every name
below is imported on first use, so that `import eventide` stays cheap and pulls in no framework.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from eventide import registry
    from eventide.backends import use_backend
    from eventide.hookspecs import hookimpl
    from eventide.manager import load_plugins, plugins
    from eventide.patches import patch

__version__ = "0.1.0"

__all__ = [
    "__version__",
    "hookimpl",
    "load_plugins",
    "patch",
    "plugins",
    "registry",
    "use_backend",
]

_HOME = {
    "hookimpl": "eventide.hookspecs:hookimpl",
    "load_plugins": "eventide.manager:load_plugins",
    "patch": "eventide.patches:patch",
    "plugins": "eventide.manager:plugins",
    "registry": "eventide.registry:",
    "use_backend": "eventide.backends:use_backend",
}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it.

    Raises:
        AttributeError: `name` is not part of the public face.
    """
    if name not in _HOME:
        raise AttributeError(f"module 'eventide' has no attribute {name!r}; it has {__all__}")
    module_name, _, attribute = _HOME[name].partition(":")
    module = importlib.import_module(module_name)
    value = getattr(module, attribute) if attribute else module
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
