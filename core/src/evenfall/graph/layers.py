"""The layers of a graph: frozen dataclasses of numpy arrays.

Dimensions: I inputs, H units, V vocabulary, E embedding, C channels, O output channels.
Continuous neuron models have the equations of NIR (Pedersen et al., Nature Communications 2024);
time is in seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from evenfall.errors import shorten

from .arrays import frozen, one_of, sizes, want_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

Shape = tuple[int, ...]
Activation = Literal["none", "relu"]
Reset = Literal["value", "subtract"]
_ACTIVATIONS = ("none", "relu")
_RESETS = ("value", "subtract")


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer: its output has one shape, which may depend on the shape of its input."""

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of the output for an input of this shape, without batch and time.

        Raises:
            ValueError: the input does not fit.
        """
        return shape

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _freeze(self, name: str, ndim: int | None = None) -> NDArray[Any]:
        array = frozen(f"{type(self).__name__}.{name}", getattr(self, name), ndim)
        self._set(name, array)
        return array


@dataclass(frozen=True, eq=False)
class Input(Layer):
    """Where data enters: `tokens` (indices), `values` (numbers at each step) or `events`."""

    shape: Shape
    content: Literal["tokens", "values", "events"] = "values"

    def __post_init__(self) -> None:
        self._set("shape", sizes("Input.shape", self.shape))
        one_of("Input.content", self.content, ("tokens", "values", "events"))


@dataclass(frozen=True, eq=False)
class Embedding(Layer):
    """Row `token` of weight (V, E)."""

    weight: NDArray[Any]

    def __post_init__(self) -> None:
        self._freeze("weight", 2)

    def output_shape(self, shape: Shape) -> Shape:
        _want("Embedding", shape, (1,))
        return (self.weight.shape[1],)


@dataclass(frozen=True, eq=False)
class Dense(Layer):
    """y = activation(weight x + bias); weight (H, I), bias (H,) or None."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    activation: Activation = "none"

    def __post_init__(self) -> None:
        weight = self._freeze("weight", 2)
        if self.bias is not None:
            want_shape("Dense.bias", self._freeze("bias", 1), weight.shape[:1])
        one_of("Dense.activation", self.activation, _ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        _want("Dense", shape, (self.weight.shape[1],))
        return (self.weight.shape[0],)


@dataclass(frozen=True, eq=False)
class Conv2d(Layer):
    """Cross-correlation as torch.nn.Conv2d; weight (O, C, kernel height, kernel width), bias (O,)
    or None, zero padding on both sides."""

    weight: NDArray[Any]
    bias: NDArray[Any] | None = None
    stride: Shape = (1, 1)
    padding: Shape = (0, 0)
    activation: Activation = "none"

    def __post_init__(self) -> None:
        weight = self._freeze("weight", 4)
        if self.bias is not None:
            want_shape("Conv2d.bias", self._freeze("bias", 1), weight.shape[:1])
        self._set("stride", sizes("Conv2d.stride", self.stride, 2))
        self._set("padding", sizes("Conv2d.padding", self.padding, 2, least=0))
        one_of("Conv2d.activation", self.activation, _ACTIVATIONS)

    def output_shape(self, shape: Shape) -> Shape:
        outputs, channels, *kernel = self.weight.shape
        if len(shape) != 3 or shape[0] != channels:
            raise ValueError(f"Conv2d: got input shape {shape}, want ({channels}, height, width)")
        return (outputs, *_windows("Conv2d", shape[1:], tuple(kernel), self.stride, self.padding))


@dataclass(frozen=True, eq=False)
class SumPool(Layer):
    """Sum over windows of the two last axes, times `scale`: 1 / (kernel height * width) makes it
    the average."""

    kernel: Shape
    stride: Shape
    padding: Shape = (0, 0)
    scale: float = 1.0

    def __post_init__(self) -> None:
        self._set("kernel", sizes("SumPool.kernel", self.kernel, 2))
        self._set("stride", sizes("SumPool.stride", self.stride, 2))
        self._set("padding", sizes("SumPool.padding", self.padding, 2, least=0))
        self._set("scale", float(frozen("SumPool.scale", self.scale, 0)))

    def output_shape(self, shape: Shape) -> Shape:
        if len(shape) != 3:
            raise ValueError(f"SumPool: got input shape {shape}, want (channels, height, width)")
        windows = _windows("SumPool", shape[1:], self.kernel, self.stride, self.padding)
        return (shape[0], *windows)


@dataclass(frozen=True, eq=False)
class Flatten(Layer):
    """All axes become one."""

    def output_shape(self, shape: Shape) -> Shape:
        count = 1
        for size in shape:
            count *= size
        return (count,)


@dataclass(frozen=True, eq=False)
class Egru(Layer):
    """An event-based GRU with the reset gate after the recurrent product and a soft reset.

        z = sigmoid(x Wz + bz + y' Rz + sz)      r = sigmoid(x Wr + br + y' Rr + sr)
        g = tanh(x Wg + bg + r (y' Rg + sg))     c = z h' + (1 - z) g;  c = p h' + (1 - p) c
        o = c > threshold                        y = o c,   h = c - o threshold

    kernel W (I, 3H), recurrent_kernel R (H, 3H), bias b (3H,), recurrent_bias s (3H,), threshold
    (H,) in [0, 1]; the gates are in the order z, r, g. p is `zoneout` at evaluation.
    """

    kernel: NDArray[Any]
    recurrent_kernel: NDArray[Any]
    bias: NDArray[Any]
    recurrent_bias: NDArray[Any]
    threshold: NDArray[Any]
    zoneout: float = 0.0

    def __post_init__(self) -> None:
        units = self._freeze("threshold", 1).shape[0]
        kernel = self._freeze("kernel", 2)
        want_shape("Egru.kernel", kernel, (kernel.shape[0], 3 * units))
        recurrent = self._freeze("recurrent_kernel", 2)
        want_shape("Egru.recurrent_kernel", recurrent, (units, 3 * units))
        for name in ("bias", "recurrent_bias"):
            want_shape(f"Egru.{name}", self._freeze(name, 1), (3 * units,))
        low, high = float(self.threshold.min()), float(self.threshold.max())
        if low < 0 or high > 1:
            raise ValueError(f"Egru.threshold: got {low:g} to {high:g}, want values in [0, 1]")
        if not 0 <= self.zoneout < 1:
            raise ValueError(f"Egru.zoneout: got {shorten(self.zoneout)}, want a number in [0, 1)")

    def output_shape(self, shape: Shape) -> Shape:
        _want("Egru", shape, (self.kernel.shape[0],))
        return (self.threshold.shape[0],)


@dataclass(frozen=True, eq=False)
class _Spiking(Layer):
    """Neurons that spike when v reaches the threshold. Then v becomes v_reset (`reset="value"`), or
    v - threshold (`reset="subtract"`)."""

    def output_shape(self, shape: Shape) -> Shape:
        _want(type(self).__name__, shape, self.v_threshold.shape)  # type: ignore[attr-defined]
        return shape

    def _freeze_all(self, reset: str) -> None:
        names = [name for name in self.__dataclass_fields__ if name != "reset"]
        shape = self._freeze("v_threshold").shape
        for name in names:
            want_shape(f"{type(self).__name__}.{name}", self._freeze(name), shape)
        for name in names:
            if name.startswith("tau") and (getattr(self, name) <= 0).any():
                least = float(getattr(self, name).min())
                raise ValueError(f"{type(self).__name__}.{name}: got {least:g}, want above 0 s")
        one_of(f"{type(self).__name__}.reset", reset, _RESETS)


@dataclass(frozen=True, eq=False)
class If(_Spiking):
    """dv/dt = r I, without leak; each array has the shape of the layer."""

    r: NDArray[Any]
    v_threshold: NDArray[Any]
    v_reset: NDArray[Any]
    reset: Reset = "value"

    def __post_init__(self) -> None:
        self._freeze_all(self.reset)


@dataclass(frozen=True, eq=False)
class Lif(_Spiking):
    """tau dv/dt = v_leak - v + r I; each array has the shape of the layer."""

    tau: NDArray[Any]
    r: NDArray[Any]
    v_leak: NDArray[Any]
    v_threshold: NDArray[Any]
    v_reset: NDArray[Any]
    reset: Reset = "value"

    def __post_init__(self) -> None:
        self._freeze_all(self.reset)


@dataclass(frozen=True, eq=False)
class CubaLif(_Spiking):
    """tau_syn dI/dt = -I + w_in S;  tau_mem dv/dt = v_leak - v + r I, S the input."""

    tau_syn: NDArray[Any]
    tau_mem: NDArray[Any]
    r: NDArray[Any]
    v_leak: NDArray[Any]
    v_threshold: NDArray[Any]
    v_reset: NDArray[Any]
    w_in: NDArray[Any]
    reset: Reset = "value"

    def __post_init__(self) -> None:
        self._freeze_all(self.reset)


@dataclass(frozen=True, eq=False)
class Readout(Layer):
    """What leaves the network: the output of every step, of the last one, or the sum over steps."""

    steps: Literal["all", "last", "sum"] = "all"
    labels: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        one_of("Readout.steps", self.steps, ("all", "last", "sum"))
        self._set("labels", tuple(map(str, self.labels)))


def _want(name: str, shape: Shape, wanted: Shape) -> None:
    if shape != wanted:
        raise ValueError(f"{name}: got input shape {shape}, want {wanted}")


def _windows(name: str, size: Shape, kernel: Shape, stride: Shape, padding: Shape) -> Shape:
    found = tuple(
        (one + 2 * pad - width) // step + 1
        for one, width, step, pad in zip(size, kernel, stride, padding, strict=True)
    )
    if min(found) < 1:
        raise ValueError(f"{name}: the kernel {kernel} is larger than the padded input {size}")
    return found


KINDS: dict[str, type[Layer]] = {
    kind.__name__: kind
    for kind in (
        Input, Embedding, Dense, Conv2d, SumPool, Flatten, Egru, If, Lif, CubaLif, Readout,
    )
}  # fmt: skip
"""Every kind of layer, by its name."""
