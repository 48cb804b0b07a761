"""Every hook a plugin may implement.

A plugin is a light module named by an entry point of the group `evenfall`. It states the core API
it was written for, `EVENFALL_API = 1`, and implements any of the hooks below with
`@evenfall.hookimpl`. Each hook is called once, when plugins are loaded, with a `register` callback.
References are strings, "package.module:Name", and are imported only when somebody asks for the
thing, so a plugin module need not import any framework.
"""

from __future__ import annotations

from typing import Any, Protocol

import pluggy

API_VERSION = 1
"""Number of the hook interface; it rises when old plugins would stop working."""

PROJECT = "evenfall"
"""Name of the entry-point group and of the pluggy project."""

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class Register(Protocol):
    """The callback of every hook but `evenfall_register_kernels`."""

    def __call__(self, name: str, reference: str, **metadata: Any) -> None:
        """Register `reference`, "package.module:Name", under `name`; metadata must be JSON-able.

        Where another plugin registers the name as well, it belongs to the one whose distribution
        it is named after, or else to the first in the alphabet; the other works without it.

        Raises:
            RegistryError: this plugin has registered the name already, or an argument is
                malformed.
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
        """Register `reference`, a function or a module of them, as `backend` of `operation`.

        `devices` and `dtypes` are torch names, "*" for any.
        The highest priority that fits is used; falling back to one marked `slow` is said once.

        Raises:
            RegistryError: this plugin has registered the backend already, or an argument is
                malformed.
        """


@hookspec
def evenfall_register_layers(register: Register) -> None:
    """Register layers: callables or classes that build one layer of a host framework."""


@hookspec
def evenfall_register_models(register: Register) -> None:
    """Register models: classes that hold a whole network; metadata `host` names the framework."""


@hookspec
def evenfall_register_kernels(register: RegisterKernel) -> None:
    """Register kernels: backends that serve an operation on some devices and dtypes."""


@hookspec
def evenfall_register_patches(register: Register) -> None:
    """Register patches: references to an `evenfall.patches.Patch`, which changes other packages
    reversibly."""


@hookspec
def evenfall_register_checkpoints(register: Register) -> None:
    """Register published checkpoints: references to an `evenfall.checkpoints.Checkpoint`, which
    says where trained weights are; metadata `model_types` lists the "model_type"s of config.json
    whose folders are published the same way."""


@hookspec
def evenfall_register_commands(register: Register) -> None:
    """Register commands: typer apps that become `evenfall <name>`; metadata `summary` is the help
    line."""


@hookspec
def evenfall_register_callbacks(register: Register) -> None:
    """Register callbacks: `evenfall.runs.Callback` classes that recipes name, to work inside a
    training loop."""


@hookspec
def evenfall_register_counters(register: Register) -> None:
    """Register counters: the name is the public path of a class, "package.Class", and the reference
    an `evenfall.counting.Counter`, which states that class's matrices and counts its operations."""


@hookspec
def evenfall_register_datasets(register: Register) -> None:
    """Register datasets: references to an `evenfall.datasets.OpenDataset`, a function that opens
    one split as NumPy arrays; metadata `contents` says which, such as "events"."""


@hookspec
def evenfall_register_trainers(register: Register) -> None:
    """Register trainers: references to an `evenfall.trainers.Trainer`, which has the recipe, the
    training and the evaluation of a plugin's models; metadata `metric` names the figure that ranks
    them."""
