"""Feedback alignment: errors travel back through random weights, or directly to each block."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from evenfall.errors import shorten

from ..features import Features, pool_samples, pooled_size, token_rows
from .base import Rule, Setting


class Dfa(Rule):
    """ "dfa": direct feedback alignment.

    The gradient at the pooled output of block k is the gradient of the loss at the model's output,
    the error, times a fixed random matrix. It needs the error, so it runs after the forward pass.

    Source: Nøkland, "Direct feedback alignment provides learning in deep neural networks", NeurIPS
    2016.
    """

    waits = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self.shapes = list(setting.shapes)
        outputs = setting.targets.outputs
        for index, shape in enumerate(self.shapes):
            tokens = setting.targets.per_token
            width = shape.channels if tokens else pooled_size(shape, self.options.grid)
            self.register_buffer(f"matrix_{index}", torch.randn(outputs, width) / outputs**0.5)

    def late_loss(self, index: int, features: Features, error: Tensor) -> Tensor:
        shape, matrix = self.shapes[index], getattr(self, f"matrix_{index}")
        if self.targets.per_token:
            rows = token_rows(features, shape)
        else:
            rows = pool_samples(features, shape, self.options.grid)
        error = error.reshape(*rows.shape[:-1], -1)
        return (rows * (error @ matrix.to(error.dtype)).detach()).sum()


class Fa(Rule):
    """ "fa": feedback alignment. In the backward pass, linear and convolution layers (torch's, and
    the Conv1D of transformers) multiply by fixed random matrices instead of their weights. Other
    operations are differentiated as usual. Other layers with a weight matrix are refused, but for
    embeddings, which pass no error on.

    The output of a layer is not changed. It costs a second forward pass of those layers.

    Source: Lillicrap et al., "Random synaptic feedback weights support error backpropagation for
    deep learning", Nature Communications 2016.
    """

    detaches = False
    reads_next = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._layers = _exchanged(setting.model)
        for index, module in enumerate(self._layers):
            weight = torch.empty_like(module.weight, requires_grad=False)
            nn.init.kaiming_uniform_(weight, a=5**0.5)
            self.register_buffer(f"feedback_{index}", weight)

    def hooks(self) -> list[RemovableHandle]:
        """Install the hooks of one step; the caller removes them."""
        return [
            handle
            for index, module in enumerate(self._layers)
            for handle in (
                module.register_forward_pre_hook(_keep_input),
                module.register_forward_hook(self._exchange(index)),
            )
        ]

    def _exchange(self, index: int) -> Any:
        def hook(module: Any, args: Any, output: Tensor) -> Tensor:
            source = module.__dict__.pop("_feedback_input")
            if not source.requires_grad:
                return output
            weight = getattr(self, f"feedback_{index}").to(output.dtype)
            if isinstance(module, nn.Linear):
                twin = F.linear(source, weight)
            elif _is_transposed(module):
                twin = source @ weight
            else:
                twin = module._conv_forward(source, weight, None)
            return output + (twin - twin.detach())

        return hook


def _exchanged(model: nn.Module) -> list[Any]:
    """The layers whose weights the backward pass replaces.

    Raises:
        ValueError: another layer has a weight matrix.
    """
    found: list[Any] = []
    for name, module in model.named_modules():
        if type(module) in (nn.Linear, nn.Conv1d, nn.Conv2d) or _is_transposed(module):
            found.append(module)
        elif not isinstance(module, nn.Embedding) and _has_matrix(module):
            raise ValueError(
                f"rule 'fa' supports linear and convolution layers, but {shorten(name)} is a "
                f"{type(module).__name__} with a weight matrix of its own"
            )
    return found


def _is_transposed(module: nn.Module) -> bool:
    """Whether it is transformers' Conv1D, a linear layer with a transposed weight."""
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def _has_matrix(module: nn.Module) -> bool:
    own = module.named_parameters(recurse=False)
    return any("weight" in name and parameter.dim() > 1 for name, parameter in own)


def _keep_input(module: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
    module.__dict__["_feedback_input"] = args[0]
    return (args[0].detach(), *args[1:])
