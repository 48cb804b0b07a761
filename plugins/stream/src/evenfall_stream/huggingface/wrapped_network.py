"""A module that wraps a network and exposes its parts and weights under their own names.

The network is the submodule `network`. PyTorch would prefix the name of each weight with
"network."; a wrapper's state dict has the network's own keys instead, and loads both. While peft
has an adapter in the network, the keys are PyTorch's: peft saves the weights whose keys begin with
the name of an adapted module.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

from torch import Tensor, nn

_INNER = "network."


class WrappedNetwork(nn.Module):
    """Base of a class whose `__init__` calls `wrap_network` once.

    The network's parts are also attributes of the wrapper, to read and to replace:
    `wrapper.head` is `wrapper.network.head`.
    """

    def wrap_network(self, network: nn.Module) -> None:
        """Make `network` the submodule `network`. Copies of the wrapper keep the hooks."""
        self.network = network
        self.register_state_dict_post_hook(_shorten)
        self.register_load_state_dict_pre_hook(_lengthen)

    def __getattr__(self, name: str) -> Any:
        network = self.__dict__.get("_modules", {}).get("network")
        if network is not None and _is_part(network, name):
            return getattr(network, name)
        return super().__getattr__(name)

    def __setattr__(self, name: str, value: Any) -> None:
        network = self.__dict__.get("_modules", {}).get("network")
        if network is not None and _is_part(network, name):
            setattr(network, name, value)
        else:
            super().__setattr__(name, value)


def network_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the network's keys, without the prefix of the wrapper's parameters."""
    return {key.removeprefix(_INNER): value for key, value in state.items()}


def _is_part(network: nn.Module, name: str) -> bool:
    return name in network._modules or name in network._parameters or name in network._buffers


def _has_adapter(network: nn.Module) -> bool:
    tuners = sys.modules.get("peft.tuners.tuners_utils")
    if tuners is None:
        return False
    return any(isinstance(module, tuners.BaseTunerLayer) for module in network.modules())


def _shorten(module: nn.Module, state: MutableMapping[str, Any], prefix: str, *_: Any) -> None:
    """Remove the prefix from a new state dict; the order of the keys stays."""
    if _has_adapter(module.network):
        return
    inner = prefix + _INNER
    for key in [key for key in state if key.startswith(inner)]:
        state[prefix + key.removeprefix(inner)] = state.pop(key)


def _lengthen(module: nn.Module, state: MutableMapping[str, Any], prefix: str, *_: Any) -> None:
    """Add the prefix before a load; unknown keys stay, so that errors show them unchanged."""
    for key in module.network.state_dict(prefix=prefix, keep_vars=True):
        if key in state:
            state[prefix + _INNER + key.removeprefix(prefix)] = state.pop(key)
