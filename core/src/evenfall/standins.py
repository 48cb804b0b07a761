"""Modules that stand in for ones a host wants and this machine lacks, in place for a while.

A package that does `import its_cuda_extension` cannot be imported where that extension was never
built. While the modules of a `StandIns` are in `sys.modules`, it can. Afterwards `sys.modules`
holds what it held before: stand-ins go, and so do the packages that could be imported only thanks
to them. Those are kept aside, so that the next time brings back the same module objects, and with
them the same classes.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from types import ModuleType

from evenfall.entries import import_reference
from evenfall.errors import PatchError


class StandIns:
    """Stand-ins for the absent ones among `modules`.

    Args:
        modules: for each module that may be absent, by its full name, the module that takes its
            place. One whose top-level package is there is left alone.
        hosts: top-level packages that import them.
    """

    def __init__(self, modules: Mapping[str, str], hosts: tuple[str, ...]) -> None:
        self.modules = modules
        self.hosts = hosts
        self._placed: dict[str, ModuleType] = {}
        self._before: dict[str, ModuleType] = {}
        self._aside: dict[str, ModuleType] = {}

    @property
    def placed(self) -> tuple[str, ...]:
        """The names that stand-ins have now."""
        return tuple(self._placed)

    def place(self, what: str) -> None:
        """Put a stand-in wherever a module is absent; errors begin with `what`.

        Raises:
            ReferenceImportError: a stand-in cannot be imported; nothing is placed then.
        """
        absent = [name for name in self.modules if not _is_there(name.partition(".")[0])]
        found = {name: import_reference(self.modules[name], what) for name in absent}
        self._before = self._host_modules()
        self._placed = {n: module for n, module in found.items() if isinstance(module, ModuleType)}
        sys.modules.update(self._placed)
        if self._placed and not any(host in self._before for host in self.hosts):
            sys.modules.update(self._aside)

    def check(self, what: str) -> None:
        """Examine whether `remove` can put everything back; errors begin with `what`.

        Raises:
            PatchError: somebody has put another module in a stand-in's place.
        """
        for name, module in self._placed.items():
            if sys.modules.get(name) is not module:
                raise PatchError(
                    f"{what} cannot be reverted: sys.modules[{name!r}] was changed since; "
                    "put it back first"
                )

    def remove(self) -> None:
        """Take the stand-ins away, and the hosts that were imported only thanks to them."""
        if not self._placed:
            return
        for name in self._placed:
            sys.modules.pop(name, None)
        self._aside = self._host_modules()
        for name in self._aside:
            del sys.modules[name]
        sys.modules.update(self._before)
        self._placed = {}

    def _host_modules(self) -> dict[str, ModuleType]:
        return {
            name: module
            for name, module in sys.modules.items()
            if name.partition(".")[0] in self.hosts
        }


def _is_there(package: str) -> bool:
    if package in sys.modules:
        return True
    return importlib.util.find_spec(package) is not None
