"""Rules that look at the next block: an average of its first layer, and overlapping blocks."""

from __future__ import annotations

import copy
import dataclasses
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from evenfall.errors import shorten

from ..features import Features, FeatureShape
from ..splitting.inputs import move_call
from ..splitting.trial import unchanged
from .base import Setting
from .predicted import LocalPrediction


class DglMan(LocalPrediction):
    """ "dgl-man": the head of a block begins with a copy of the next block's first layer.

    The copy is a moving average of that layer's weights and does not learn; a bias beside it does.
    The rest is "local-ce".

    Source: Su et al., "Momentum auxiliary network for supervised local learning", ECCV 2024; the
    heads are those of decoupled greedy learning (Belilovsky et al., ICML 2020).
    """

    reads_next = True

    def __init__(self, setting: Setting) -> None:
        layers = first_layers(setting)
        shapes = [
            dataclasses.replace(shape, channels=width, prefix=shape.prefix)
            for shape, (_, width) in zip(setting.shapes, layers, strict=True)
        ]
        super().__init__(dataclasses.replace(setting, shapes=shapes))
        self._sources = [name for name, _ in layers]
        self._model = [setting.model]  # a list, so that it is no submodule
        copies = [copy.deepcopy(setting.model.get_submodule(name)) for name in self._sources]
        self.copies = nn.ModuleList(copies).requires_grad_(False)
        self.biases = nn.ParameterList(
            nn.Parameter(torch.zeros(shape.channels)) for shape in shapes
        )

    @torch.no_grad()
    def begin(self, target: Tensor) -> None:
        """Move every copy towards its layer."""
        for name, average in zip(self._sources, self.copies, strict=True):
            layer = self._model[0].get_submodule(name)
            for kept, new in zip(average.parameters(), layer.parameters(), strict=True):
                kept.lerp_(new.to(kept), 1 - self.options.momentum)

    def loss(self, index: int, features: Features, target: Tensor) -> Tensor:
        shape = self.heads[index].shape
        bias = self.biases[index]
        if shape.layout in ("nchw", "ncl", "ncx"):
            bias = bias.reshape(-1, *[1] * (features.values.dim() - 2))
        values = (self.copies[index](features.values) + bias).relu()
        return super().loss(index, dataclasses.replace(features, values=values), target)


class Overlap(LocalPrediction):
    """ "overlap": every loss trains its block and the one before, so that each block is in two.

    All activations are kept until the step ends: it saves no memory.

    Source: the hierarchical part of HPFF (Su et al., ECCV 2024), without its feature patches.
    """

    detaches = False
    reads_next = True

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._open: int | None = None

    def open_gate(self, index: int) -> None:
        """Let gradients pass from block index + 1 to block `index`, and between no others."""
        self._open = index

    def gate(self, index: int, values: Tensor) -> Tensor:
        """`values`; its gradient passes only while the gate is open."""
        return _Gate.apply(values, self, index)

    def is_open(self, index: int) -> bool:
        """Whether the gate behind block `index` is open."""
        return self._open == index


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, rule: Overlap, index: int) -> Tensor:
        ctx.rule, ctx.index = rule, index
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, None, None]:
        return (gradient if ctx.rule.is_open(ctx.index) else None), None, None


def first_layers(setting: Setting) -> list[tuple[str, int]]:
    """For each local block, the first layer with a weight matrix after it, and the number of its
    output channels.

    Raises:
        ValueError: there is none that takes the block's features.
    """
    model, found = setting.model, {}
    passed: list[int] = []

    def cut(module: nn.Module, args: Any, output: Any) -> None:
        passed.append(len(passed))

    def watch(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> None:
            index = len(passed) - 1
            if index >= 0 and index not in found and args and isinstance(output, Tensor):
                shape = setting.shapes[index]
                axis = _channel_axis(shape)
                if isinstance(args[0], Tensor) and args[0].shape[axis] == shape.channels:
                    found[index] = (name, output.shape[axis])

        return hook

    with ExitStack() as stack, torch.no_grad():
        stack.enter_context(unchanged(model))
        for name in setting.boundaries:
            stack.callback(model.get_submodule(name).register_forward_hook(cut).remove)
        for name, module in model.named_modules():
            if getattr(getattr(module, "weight", None), "ndim", 0) >= 2 and not list(
                module.children()
            ):
                stack.callback(module.register_forward_hook(watch(name)).remove)
        args, kwargs = move_call(model, setting.call)
        model(*args, **kwargs)
    for index, name in enumerate(setting.boundaries):
        if index not in found:
            raise ValueError(f"rule 'dgl-man': no layer after {shorten(name)} takes its features")
    return [found[index] for index in range(len(setting.boundaries))]


def _channel_axis(shape: FeatureShape) -> int:
    return 1 if shape.layout in ("nchw", "ncl", "ncx") else -1
