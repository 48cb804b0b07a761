"""One recorded forward pass: the output of every module and what was computed before it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from .autograd import ParameterGraph
from .inputs import Call


@dataclass(eq=False)
class Point:
    """A module that ended, with a differentiable output.

    Attributes:
        name: of the module.
        nodes: `grad_fn` of the tensors of its output.
        inputs, output: positional arguments and output, without their graph.
        macs: multiply-accumulates until here.
        saved: bytes saved for the backward pass until here.
        is_changed: whether a later operation changed the output in place.
    """

    name: str
    nodes: tuple[Any, ...]
    inputs: tuple[Any, ...]
    output: Any
    macs: float
    saved: float
    is_changed: bool = False


@dataclass(eq=False)
class Trial:
    """What `record` returns.

    Attributes:
        points: in the order in which the modules ended.
        graph: from the output back to the parameters.
        output: of the model, without its graph.
        macs, saved: of the whole pass.
        reused: names of modules that were called more than once.
        order: names of all modules that were called, in the order in which they began.
    """

    points: list[Point]
    graph: ParameterGraph
    output: Any
    macs: float
    saved: float
    reused: set[str]
    order: list[str] = field(default_factory=list)


def record(model: nn.Module, call: Call, detached: Sequence[str] = ()) -> Trial:
    """Call the model once, with gradients, in its present mode. Buffers and random states are as
    before afterwards.

    Args:
        model: the model.
        call: its arguments.
        detached: names of modules whose output is detached.
    """
    points: list[Point] = []
    tensors: list[tuple[list[Tensor], list[int]]] = []
    counts: dict[str, int] = {}
    order: list[str] = []
    saved = _SavedBytes(model)

    def begin(name: str) -> Any:
        def hook(module: nn.Module, args: Any) -> None:
            counts[name] = counts.get(name, 0) + 1
            order.append(name)

        return hook

    def end(name: str) -> Any:
        def hook(module: nn.Module, args: Any, output: Any) -> Any:
            if name in detached:
                return detach(output)
            found = differentiable(output)
            if found:
                tensors.append((found, [tensor._version for tensor in found]))
                nodes = tuple(tensor.grad_fn for tensor in found)
                macs = flops.get_total_flops() / 2
                point = Point(name, nodes, detach(args), detach(output), macs, saved.total)
                points.append(point)
            return None

        return hook

    flops = FlopCounterMode(display=False)
    with ExitStack() as stack:
        stack.enter_context(unchanged(model))
        for name, module in model.named_modules():
            if name:
                stack.callback(module.register_forward_pre_hook(begin(name)).remove)
                stack.callback(module.register_forward_hook(end(name)).remove)
        stack.enter_context(torch.enable_grad())
        stack.enter_context(saved)
        stack.enter_context(flops)
        output = model(*call[0], **call[1])
    for point, (found, versions) in zip(points, tensors, strict=True):
        point.is_changed = [tensor._version for tensor in found] != versions
    roots = [tensor.grad_fn for tensor in loss_tensors(output)]
    if not roots:
        raise ValueError("the output of the model depends on no trainable parameter")
    macs = flops.get_total_flops() / 2
    reused = {name for name, count in counts.items() if count > 1}
    return Trial(points, ParameterGraph(roots), detach(output), macs, saved.total, reused, order)


@contextmanager
def unchanged(model: nn.Module) -> Iterator[None]:
    """Restore the buffers of the model, the modes of its modules and the random states at the
    end."""
    training = {module: module.training for module in model.modules()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = sorted({p.device.index for p in model.parameters() if p.device.type == "cuda"})
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        for module, mode in training.items():
            module.training = mode
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers and buffer.shape == buffers[name].shape:
                    buffer.copy_(buffers[name])


def differentiable(output: Any) -> list[Tensor]:
    """The tensors of a module's output that have a graph."""
    leaves = tree_leaves(output)
    return [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.grad_fn is not None]


def detach(output: Any) -> Any:
    """The output with every differentiable tensor detached; other parts are the same objects."""
    return torch.utils._pytree.tree_map_only(
        Tensor, lambda t: t.detach() if t.grad_fn is not None else t, output
    )


def storage_key(tensor: Tensor) -> int:
    """What tensors on one storage share, on the meta device as well, where no address exists."""
    return int(tensor.untyped_storage()._cdata)


def loss_tensors(output: Any) -> list[Tensor]:
    """The tensors of the output that lead to a loss: the loss, logits or last hidden state of a
    transformers output, or every differentiable tensor."""
    for name in ("loss", "logits", "last_hidden_state"):
        value = output.get(name) if isinstance(output, dict) else getattr(output, name, None)
        if isinstance(value, Tensor) and value.grad_fn is not None:
            return [value]
    return differentiable(output)


class _SavedBytes(torch.autograd.graph.saved_tensors_hooks):
    """Counts the bytes that are saved for the backward pass, each storage once, no parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.total = 0
        self._seen = {storage_key(p) for p in model.parameters()}
        super().__init__(self._pack, lambda tensor: tensor)

    def _pack(self, tensor: Tensor) -> Tensor:
        key = storage_key(tensor)
        if key not in self._seen:
            self._seen.add(key)
            self.total += tensor.untyped_storage().nbytes()
        return tensor
