"""Lowerings of torch.nn's modules in a Sequential: dense and convolution layers.

The graph computes what the modules compute in evaluation, so dropout disappears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from evenfall.errors import LoweringError, shorten
from evenfall.graph import Conv2d, Dense, Flatten, Input, Readout, SumPool
from evenfall.lowering import GraphBuilder, Lowering


def _array(tensor: Any) -> Any:
    import torch

    tensor = tensor.detach().cpu()
    return (tensor if tensor.dtype == torch.float64 else tensor.float()).numpy()


def _lower_sequential(module: Any, builder: GraphBuilder) -> None:
    """The outermost Sequential also adds the input and the readout."""
    if not len(module):
        raise LoweringError(f"module {shorten(builder.path)}: an empty Sequential")
    is_model = builder.last is None
    if is_model:
        builder.add("input", Input(_input_shape(module)))
    for name, child in module._modules.items():  # a module may be there twice
        builder.lower(child, name)
    if is_model:
        builder.add("output", Readout())


def _part(lower: Callable[[Any, GraphBuilder], None]) -> Lowering:
    """The lowering of a module in a Sequential. Alone, it is a Sequential of one."""

    def lower_part(module: Any, builder: GraphBuilder) -> None:
        if builder.last is None:
            import torch

            alone = torch.nn.Sequential(module)
            alone.input_shape = getattr(module, "input_shape", None)
            _lower_sequential(alone, builder)
        else:
            lower(module, builder)

    return Lowering(lower_part)


def _input_shape(module: Any) -> tuple[int, ...]:
    """The shape of an example: given by the first layer, or by the attribute `input_shape`."""
    import torch

    stated = getattr(module, "input_shape", None)
    if stated is not None:
        return tuple(stated)
    for child in module.modules():
        if isinstance(child, torch.nn.Linear):
            return (child.in_features,)
        if isinstance(child, torch.nn.Conv2d | torch.nn.Flatten):
            break
    raise LoweringError(
        "model: the first layer does not state the shape of the input; set "
        "model.input_shape = (channels, height, width)"
    )


def _lower_linear(module: Any, builder: GraphBuilder) -> None:
    bias = None if module.bias is None else _array(module.bias)
    builder.add("", Dense(_array(module.weight), bias))


def _lower_conv(module: Any, builder: GraphBuilder) -> None:
    for name, wanted in (("groups", 1), ("dilation", (1, 1)), ("padding_mode", "zeros")):
        if getattr(module, name) != wanted:
            raise LoweringError(
                f"module {shorten(builder.path)}: Conv2d with "
                f"{name}={shorten(getattr(module, name))}; only "
                f"{name}={wanted!r} is supported"
            )
    if isinstance(module.padding, str):
        raise LoweringError(
            f"module {shorten(builder.path)}: Conv2d with padding={shorten(module.padding)}; "
            f"give numbers"
        )
    bias = None if module.bias is None else _array(module.bias)
    builder.add("", Conv2d(_array(module.weight), bias, module.stride, module.padding))


def _lower_relu(module: Any, builder: GraphBuilder) -> None:
    """An activation joins the layer before it."""
    last = builder.last
    layer = builder.layers.get(last) if last else None
    if last is None or not isinstance(layer, Dense | Conv2d):
        raise LoweringError(
            f"module {shorten(builder.path)}: a ReLU must follow a Linear or Conv2d"
        )
    builder.replace(last, replace(layer, activation="relu"))


def _lower_flatten(module: Any, builder: GraphBuilder) -> None:
    if (module.start_dim, module.end_dim) != (1, -1):
        raise LoweringError(
            f"module {shorten(builder.path)}: Flatten({module.start_dim}, {module.end_dim}); only "
            "Flatten(1, -1) is supported"
        )
    builder.add("", Flatten())


def _lower_average(module: Any, builder: GraphBuilder) -> None:
    kernel = _pair(module.kernel_size)
    stride, padding = _pair(module.stride), _pair(module.padding)
    for name, value, wanted in (
        ("padding", padding, (0, 0)), ("ceil_mode", module.ceil_mode, False),
        ("divisor_override", module.divisor_override, None),
    ):  # fmt: skip
        if value != wanted:
            raise LoweringError(
                f"module {shorten(builder.path)}: AvgPool2d with {name}={shorten(value)}; only "
                f"{name}={wanted} is supported"
            )
    builder.add("", SumPool(kernel, stride, scale=1 / (kernel[0] * kernel[1])))


def _pair(value: Any) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else tuple(value)


def _lower_nothing(module: Any, builder: GraphBuilder) -> None:
    """Dropout and Identity change nothing in evaluation."""


SEQUENTIAL = Lowering(_lower_sequential)
LINEAR = _part(_lower_linear)
CONV = _part(_lower_conv)
RELU = _part(_lower_relu)
FLATTEN = _part(_lower_flatten)
AVERAGE = _part(_lower_average)
NOTHING = _part(_lower_nothing)
