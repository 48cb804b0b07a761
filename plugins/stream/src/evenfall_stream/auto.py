"""transformers' Auto classes learn the plugin's models, as soon as transformers is imported.

Importing evenfall_stream must neither need transformers nor spend the seconds that it takes. Its
Auto modules are therefore watched: when one of them is imported, at whatever time, the classes are
registered right after it; where it is imported already, at once. So both orders work:

    import evenfall_stream
    from transformers import AutoModel

    model = AutoModel.from_pretrained("stream-modelnet10-small")

A registration that fails, as with a transformers too old, is a warning and nothing worse.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

_CONFIGURATIONS = "transformers.models.auto.configuration_auto"
_MODELS = "transformers.models.auto.modeling_auto"


def watch_transformers() -> None:
    """Register the configurations and the models, now or when transformers is imported."""
    after_import(_CONFIGURATIONS, lambda: _register("huggingface.configuration_stream"))
    after_import(_MODELS, lambda: _register("huggingface.modeling_stream"))


def after_import(name: str, action: Callable[[], None]) -> None:
    """Call `action` once, after the module of that name has been imported."""
    if name in sys.modules:
        action()
    else:
        sys.meta_path.insert(0, _Watcher(name, action))


def _register(module: str) -> None:
    """Import a module of ours that registers; where that is under way already, it will itself."""
    try:
        import_module(f"{__package__}.{module}")
    except Exception as error:  # an import of transformers must not fail for our sake
        warnings.warn(f"evenfall_stream is not registered with transformers: {error}", stacklevel=2)


class _Watcher(MetaPathFinder):
    """Finds one module by the other finders, once, and lets its loader call back."""

    def __init__(self, name: str, action: Callable[[], None]) -> None:
        self.name, self.action = name, action

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self.name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _CallingLoader(spec.loader, self.action)
        return spec


class _CallingLoader(Loader):
    """The loader of a module, and what to do once it has run."""

    def __init__(self, loader: Loader, action: Callable[[], None]) -> None:
        self.loader, self.action = loader, action

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        # Tools that look at a module's source ask its loader, which is to be the true one again.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        self.action()
