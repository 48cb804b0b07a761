"""The registries: what plugins offer, by name. References are imported on first use.

    >>> from evenfall import registry
    >>> registry.models.names()
    ['EgruForCausalLM', 'EgruForSequenceClassification', 'EgruModel']
    >>> registry.models.get("EgruForCausalLM")
    <class 'evenfall_egru.models.modeling_egru.EgruForCausalLM'>

Reading a registry loads the plugins first, once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evenfall import built_in
from evenfall.checkpoints import Checkpoint
from evenfall.contracts import Operation
from evenfall.datasets import OpenDataset
from evenfall.entries import Registry
from evenfall.manager import PluginManager, PluginStatus
from evenfall.trainers import Trainer

if TYPE_CHECKING:
    from evenfall.lowering import Exporter, Lowering


def load_plugins() -> None:
    """Load every installed plugin, once. Reading a registry or choosing a backend does it as well.

    Raises:
        PluginError: EVENFALL_STRICT is set and a plugin is broken.
    """
    _manager.load()


def plugins() -> list[PluginStatus]:
    """A status row for each installed plugin, sorted by name; loads the plugins first.

    Raises:
        PluginError: EVENFALL_STRICT is set and a plugin is broken.
    """
    return _manager.statuses()


BUILT_IN_COMMANDS = frozenset(
    {
        "plugins", "models", "layers", "operations", "kernels", "patches", "checkpoints",
        "callbacks", "counters", "datasets", "trainers", "lowerings", "exporters", "splitters",
        "doctor", "grid", "new",
    }
)  # fmt: skip
"""The commands of `evenfall` itself."""

layers: Registry[Any] = Registry("layer", load_plugins)
models: Registry[Any] = Registry("model", load_plugins)
operations: Registry[Operation] = Registry("operation", load_plugins)
kernels: Registry[Callable[..., Any]] = Registry("kernel", load_plugins)
patches: Registry[Any] = Registry("patch", load_plugins)
checkpoints: Registry[Checkpoint] = Registry("checkpoint", load_plugins)
commands: Registry[Any] = Registry("command", load_plugins, BUILT_IN_COMMANDS)
callbacks: Registry[Any] = Registry("callback", load_plugins)
counters: Registry[Any] = Registry("counter", load_plugins)
datasets: Registry[OpenDataset] = Registry("dataset", load_plugins)
trainers: Registry[Trainer] = Registry("trainer", load_plugins)
lowerings: Registry[Lowering] = Registry("lowering", load_plugins)
exporters: Registry[Exporter] = Registry("exporter", load_plugins)
splitters: Registry[Any] = Registry("splitter", load_plugins)

ALL: dict[str, Registry[Any]] = {
    "layers": layers,
    "models": models,
    "operations": operations,
    "kernels": kernels,
    "patches": patches,
    "checkpoints": checkpoints,
    "commands": commands,
    "callbacks": callbacks,
    "counters": counters,
    "datasets": datasets,
    "trainers": trainers,
    "lowerings": lowerings,
    "exporters": exporters,
    "splitters": splitters,
}
"""Every registry, by the plural in the name of its hook. A kernel's name is "operation/backend"."""

for _path, (_reference, _summary) in built_in.COUNTERS.items():
    counters.add(_path, _reference, built_in.OWNER, host="torch", summary=_summary)

_manager = PluginManager(ALL)


def _before_fork() -> None:
    """Wait for a thread that loads plugins: a forked process has no other threads, so it would find
    plugins half loaded, for ever."""
    _manager.lock.acquire()


def _after_fork_in_parent() -> None:
    _manager.lock.release()


def _after_fork_in_child() -> None:
    _manager.lock.release()
    for one in ALL.values():
        one.renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork_in_parent,
        after_in_child=_after_fork_in_child,
    )
