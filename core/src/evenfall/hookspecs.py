"""Every hook a plugin may implement.

A plugin is a module that an entry point of the group `evenfall` names. It states the version of the
hook interface, `EVENFALL_API = 1`, and implements any of the hooks below with `@evenfall.hookimpl`.
Each hook is called once, when plugins are loaded, with a `register` callback. References are
strings, "package.module:Name". They are imported on first use, so a plugin module imports no
framework.
"""

from __future__ import annotations

from typing import Any, Protocol

import pluggy

API_VERSION = 1
"""Version of the hook interface; it increases when old plugins would stop working."""

PROJECT = "evenfall"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The callback of every hook except `evenfall_register_kernels`."""

    def __call__(self, name: str, reference: str, **metadata: Any) -> None:
        """Register `reference`, "package.module:Name", under `name`; metadata must be JSON-able.

        If another plugin registers the same name, it belongs to one of Evenfall's own plugins, or
        to the plugin whose distribution it is named after, or else to the first in the alphabet.
        The other plugin loads without it.

        Raises:
            RegistryError: this plugin has already registered the name, or an argument is malformed.
        """


class RegisterKernel(Protocol):
    """The callback of `evenfall_register_kernels`."""

    def __call__(
        self,
        operation: str,
        backend: str,
        reference: str,
        *,
        devices: tuple[str, ...] = ("cpu",),
        dtypes: tuple[str, ...] = ("float32",),
        priority: int = 0,
        slow: bool = False,
    ) -> None:
        """Register `reference`, a function or a module of functions, as `backend` of `operation`.

        `devices` and `dtypes` are torch names; "*" means any. The fitting backend with the highest
        priority is used; those of equal priority are tried in the order of the alphabet. Evenfall's
        own are "reference" 0, "triton" 50 and "cpu" 100: a higher priority replaces them, 1 to 49
        serves what they do not. A backend marked `slow` comes after all others, and users are
        warned once when it is used. What a backend must offer is the contract of its operation, see
        `evenfall_register_operations`.

        Raises:
            RegistryError: this plugin has already registered the backend, or an argument is
                malformed.
        """


@hookspec
def evenfall_register_layers(register: Register) -> None:
    """Register layers: classes, or functions that build one layer of a host framework."""


@hookspec
def evenfall_register_models(register: Register) -> None:
    """Register models: classes of whole networks; metadata `host` names the framework."""


@hookspec
def evenfall_register_operations(register: Register) -> None:
    """Register operations: references to an `evenfall.contracts.Operation`, which says what a
    backend must offer and has a tiny call."""


@hookspec
def evenfall_register_kernels(register: RegisterKernel) -> None:
    """Register kernels: backends that serve an operation on some devices and dtypes."""


@hookspec
def evenfall_register_patches(register: Register) -> None:
    """Register patches: references to an `evenfall.patches.Patch`, a reversible change of other
    packages."""


@hookspec
def evenfall_register_checkpoints(register: Register) -> None:
    """Register published checkpoints: references to an `evenfall.checkpoints.Checkpoint`, which
    says where trained weights are; metadata `model_types` lists the "model_type" values of
    config.json whose folders are published in the same way, and `architectures` the classes in it,
    where checkpoints of one model type are published in several ways."""


@hookspec
def evenfall_register_commands(register: Register) -> None:
    """Register commands: typer apps that become `evenfall <name>`; metadata `summary` is the help
    line."""


@hookspec
def evenfall_register_callbacks(register: Register) -> None:
    """Register callbacks: subclasses of `evenfall.runs.Callback` that a recipe names and the
    training loop calls."""


@hookspec
def evenfall_register_counters(register: Register) -> None:
    """Register counters: the name is the public path of a class, "package.Class". The reference is
    an `evenfall.counting.Counter`, which lists the matrices of the class and counts its
    operations."""


@hookspec
def evenfall_register_datasets(register: Register) -> None:
    """Register datasets: references to an `evenfall.datasets.OpenDataset`, a function that opens
    one split as NumPy arrays; metadata `contents` says what they are, such as "events"."""


@hookspec
def evenfall_register_trainers(register: Register) -> None:
    """Register trainers: references to an `evenfall.trainers.Trainer`, the recipe, training and
    evaluation of a plugin's models; metadata `metric` names the metric that ranks them."""


@hookspec
def evenfall_register_lowerings(register: Register) -> None:
    """Register lowerings: the name is the public path of a class, "package.Class". The reference is
    an `evenfall.lowering.Lowering`, which adds the layers of a module to a graph."""


@hookspec
def evenfall_register_exporters(register: Register) -> None:
    """Register exporters: functions that write a model or graph for a target, such as a chip;
    `evenfall.export(model, name, output)` calls them."""


@hookspec
def evenfall_register_splitters(register: Register) -> None:
    """Register splitters: the name is the public path of a class of models, "package.Class". The
    reference is an `evenfall.splitters.Splitter`, which says how to call and split them."""
