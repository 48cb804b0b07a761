"""Stand-ins: modules that temporarily replace missing ones that a host imports.

A package that does `import its_cuda_extension` cannot be imported if that extension was never
built. It can while the modules of a `StandIns` are in `sys.modules`. Afterwards `sys.modules` is as
before: the stand-ins are removed, and so are the host packages whose import needed them. These are
stored and put back the next time, so that their classes stay the same objects.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from types import ModuleType

from evenfall.errors import PatchError
from evenfall.installed import is_importable
from evenfall.references import import_reference


class StandIns:
    """Stand-ins for those of `modules` that are missing.

    Args:
        modules: full name of each module that may be missing -> name of its stand-in. A module
            whose top-level package is installed is not replaced.
        hosts: top-level packages that import them.
    """

    def __init__(self, modules: Mapping[str, str], hosts: tuple[str, ...]) -> None:
        self.modules = modules
        self.hosts = hosts
        self._placed: dict[str, ModuleType] = {}
        self._before: dict[str, ModuleType] = {}
        self._stored: dict[str, ModuleType] = {}

    @property
    def placed(self) -> tuple[str, ...]:
        """The names in `sys.modules` that stand-ins have now."""
        return tuple(self._placed)

    def place(self, what: str) -> None:
        """Put a stand-in in the place of each missing module; errors begin with `what`.

        Raises:
            ReferenceImportError: a stand-in cannot be imported; nothing is changed.
        """
        missing = [name for name in self.modules if not is_importable(name.partition(".")[0])]
        modules = {name: import_reference(self.modules[name], what) for name in missing}
        self._before = self._host_modules()
        self._placed = {
            n: module for n, module in modules.items() if isinstance(module, ModuleType)
        }
        sys.modules.update(self._placed)
        if self._placed and not any(host in self._before for host in self.hosts):
            sys.modules.update(self._stored)

    def check(self, what: str) -> None:
        """Check that `remove` can restore everything; errors begin with `what`.

        Raises:
            PatchError: other code has replaced a stand-in.
        """
        for name, module in self._placed.items():
            if sys.modules.get(name) is not module:
                raise PatchError(
                    f"{what} cannot be reverted: other code has replaced sys.modules[{name!r}]; "
                    "restore it first"
                )

    def remove(self) -> None:
        """Remove the stand-ins, and the hosts whose import needed them."""
        if not self._placed:
            return
        for name in self._placed:
            sys.modules.pop(name, None)
        self._stored = self._host_modules()
        for name in self._stored:
            del sys.modules[name]
        sys.modules.update(self._before)
        self._placed = {}

    def _host_modules(self) -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in self.hosts
        }
