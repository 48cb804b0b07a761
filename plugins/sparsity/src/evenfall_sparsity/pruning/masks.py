"""Masks that keep removed weights at zero while a model trains.

Parameters stay plain, so names in a state_dict do not change. Three things keep a zero: a hook on
the gradient, a hook after each step of any optimiser of torch.optim, and a record in the module,
which a deep copy or a pickle of the module takes along.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.weak import WeakIdKeyDictionary

RECORD = "_evenfall_masks"
"""The attribute of a module with the masks of its own parameters, by name."""


class Mask:
    """Keeps some weights of a parameter at zero, for as long as a module has it in its record.

    Attributes:
        weight: the parameter.
        removed: True where a weight is removed, in the shape of the parameter.
        on_gradient: called with each gradient before it is masked, or None.
        before_step: called with each optimiser that has the parameter before its step, or None.

    Raises:
        ValueError: the mask does not fit the parameter.
    """

    def __init__(self, weight: Tensor, removed: Tensor) -> None:
        self.weight = weight
        self.replace(removed)
        self.on_gradient: Callable[[Tensor], None] | None = None
        self.before_step: Callable[[Optimizer], None] | None = None
        _MASKS[weight] = weakref.ref(self)
        _watch_optimizers()
        self._handle: Any = None
        self._watch_gradient()

    def replace(self, removed: Tensor) -> None:
        """Take other removed weights.

        Raises:
            ValueError: they do not fit the parameter.
        """
        shape = tuple(self.weight.shape)
        if removed.shape != shape or removed.dtype != torch.bool:
            raise ValueError(
                f"mask must be boolean with shape {shape}, got {removed.dtype} with shape "
                f"{tuple(removed.shape)}"
            )
        self.removed = removed

    def _watch_gradient(self) -> None:
        """Mask the gradients from now on, once there can be any: a frozen parameter has none."""
        if self._handle is None and self.weight.requires_grad and self.weight.is_leaf:
            self._handle = self.weight.register_hook(_gradient_hook(weakref.ref(self)))

    def on(self, device: torch.device) -> Tensor:
        """`removed` on a device: it follows its parameter."""
        if self.removed.device != device:
            self.removed = self.removed.to(device)
        return self.removed

    @torch.no_grad()
    def apply(self, weight: Tensor, state: dict[str, Any] | None = None) -> None:
        """Set the removed weights to zero, and the same places of an optimiser's state."""
        self._watch_gradient()
        removed = self.on(weight.device)
        weight.masked_fill_(removed, 0)
        for value in (state or {}).values():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                value.masked_fill_(removed.to(value.device), 0)

    def release(self) -> None:
        """Keep nothing at zero from now on."""
        _MASKS.pop(self.weight, None)
        if self._handle is not None:
            self._handle.remove()

    def __deepcopy__(self, memo: dict[int, Any]) -> Mask:
        return Mask(copy.deepcopy(self.weight, memo), self.removed.clone())

    def __reduce__(self) -> tuple[Any, ...]:
        return Mask, (self.weight, self.removed)


_MASKS: Any = WeakIdKeyDictionary()  # parameter -> weak reference to its Mask
_watched = False


def mask_of(weight: Tensor) -> Mask | None:
    """The mask of a parameter, or None."""
    reference = _MASKS.get(weight)
    return None if reference is None else reference()


def set_mask(weight: Tensor, places: Iterable[tuple[nn.Module, str]], removed: Tensor) -> Mask:
    """Set weights to zero and keep them there; a mask that the parameter has is replaced.

    Args:
        weight: the parameter.
        places: (module, name) of each use.
        removed: boolean, in the shape of the parameter.

    Raises:
        ValueError: the mask does not fit.
    """
    mask = mask_of(weight)
    if mask is None:
        mask = Mask(weight, removed)
    else:
        mask.replace(removed)
    for module, name in places:
        module.__dict__.setdefault(RECORD, {})[name] = mask
    mask.apply(weight)
    return mask


def masks_of(model: nn.Module) -> dict[str, Mask]:
    """The masks of a model by the full name of the parameter; tied ones at each use."""
    return {
        f"{path}.{name}" if path else name: mask
        for path, module in model.named_modules(remove_duplicate=False)
        for name, mask in module.__dict__.get(RECORD, {}).items()
        if module._parameters.get(name) is mask.weight
    }


def forget_mask(module: nn.Module, name: str) -> None:
    """Drop the mask of a parameter that a module no longer has: the mask keeps it in memory."""
    module.__dict__.get(RECORD, {}).pop(name, None)


def release_masks(model: nn.Module) -> None:
    """Let all weights of a model change again; they keep their values."""
    for module in model.modules():
        for mask in module.__dict__.pop(RECORD, {}).values():
            mask.release()


def _gradient_hook(reference: weakref.ref[Mask]) -> Callable[[Tensor], Tensor | None]:
    """A weak reference, so that a parameter and its mask do not keep each other alive."""

    def hook(gradient: Tensor) -> Tensor | None:
        mask = reference()
        if mask is None:
            return None
        if mask.on_gradient is not None:
            mask.on_gradient(gradient)
        return gradient.masked_fill(mask.on(gradient.device), 0)

    return hook


def _watch_optimizers() -> None:
    global _watched
    if not _watched:
        register_optimizer_step_pre_hook(_before_step)
        register_optimizer_step_post_hook(_after_step)
        _watched = True


def _masked(optimizer: Optimizer) -> list[Mask]:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    return [mask for weight in weights if (mask := mask_of(weight)) is not None]


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for mask in _masked(optimizer):
        if mask.before_step is not None:
            mask.before_step(optimizer)


def _after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for mask in _masked(optimizer):
        mask.apply(mask.weight, optimizer.state.get(mask.weight))
