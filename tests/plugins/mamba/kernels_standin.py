"""What this plugin sees of the package `kernels`: registering for a device, in a context's mapping.

Loaded by tests under the name `kernels`. An entry for a device with properties serves the
capabilities between two bounds; of those that serve one, the closest bounds win.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

_KERNEL_MAPPING: ContextVar[dict[str, dict[str, Any]]] = ContextVar("mapping", default={})  # noqa: B039
CAPABILITY = 90
ANY = (0, 10**6)


class Mode(Flag):
    FALLBACK = auto()
    TRAINING = auto()
    INFERENCE = auto()


@dataclass(frozen=True)
class CUDAProperties:
    min_capability: int
    max_capability: int


@dataclass(frozen=True)
class Device:
    type: str
    properties: CUDAProperties | None = None


class Single:
    def __init__(self) -> None:
        self.repos: dict[Mode, Any] = {}

    def insert(self, device: Device, repos: dict[Mode, Any]) -> None:
        self.repos = repos


class ByCapability:
    def __init__(self) -> None:
        self.bounds: dict[tuple[int, int], dict[Mode, Any]] = {}

    @property
    def repos(self) -> dict[Mode, Any] | None:
        fitting = [(low, high) for low, high in self.bounds if low <= CAPABILITY <= high]
        closest = min(fitting, key=lambda pair: pair[1] - pair[0], default=None)
        return None if closest is None else self.bounds[closest]

    def insert(self, device: Device, repos: dict[Mode, Any]) -> None:
        given = device.properties
        bounds = ANY if given is None else (given.min_capability, given.max_capability)
        self.bounds[bounds] = repos


KINDS = {"cpu": Single, "xpu": Single, "cuda": ByCapability, "rocm": ByCapability}


def register_kernel_mapping(
    mapping: dict[str, dict[Any, Any]], inherit_mapping: bool = True
) -> None:
    if not inherit_mapping:
        _KERNEL_MAPPING.set({})
    for name, devices in mapping.items():
        standing = _KERNEL_MAPPING.get().setdefault(name, {})
        for key, given in devices.items():
            device = Device(key) if isinstance(key, str) else key
            by_mode = given if isinstance(given, dict) else {Mode.FALLBACK: given}
            standing.setdefault(device.type, KINDS[device.type]()).insert(device, by_mode)


@contextmanager
def use_kernel_mapping(
    mapping: dict[str, dict[Any, Any]], *, inherit_mapping: bool = True
) -> Iterator[None]:
    token = _KERNEL_MAPPING.set(deepcopy(_KERNEL_MAPPING.get()) if inherit_mapping else {})
    register_kernel_mapping(mapping)
    try:
        yield
    finally:
        _KERNEL_MAPPING.reset(token)
