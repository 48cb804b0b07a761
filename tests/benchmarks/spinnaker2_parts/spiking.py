"""Spiking networks on the chip: N-MNIST, a LIF network beside PyTorch, and the trace of one neuron.

Dimensions: B recordings or images, T steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from evenfall import registry
from evenfall.graph import Dense, Graph, Input, Lif, Readout
from evenfall_egru.sequences import read_mnist
from evenfall_spinnaker2 import Emulator, compile
from evenfall_spinnaker2.nir_files import read_nir
from evenfall_spinnaker2.settings import Settings
from evenfall_spinnaker2.tracing.reference import simulate

from .agreement import agreement

STEPS, TAU, DT = 8, 2e-3, 1e-3
"""Of the LIF network: steps of an image, and the time constant and the step in seconds."""
SCALE = 102.02
"""What py-spinnaker2 multiplied the weights with in the recorded trace."""


def cnn(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A spiking CNN from a NIR file on N-MNIST's recordings, in frames of a millisecond."""
    file = options.data / "nir" / "cnn_sinabs.nir"
    recordings = registry.datasets.get("nmnist")(options.data / "nmnist_small", "test")
    frames = [_frames(recordings[number]) for number in range(len(recordings))]
    labels = np.array([int(recordings[number]["label"]) for number in range(len(recordings))])
    for reset in ("value", "subtract"):
        emulator = Emulator(compile(file, folder / reset, reset=reset))
        found = []
        for one in frames:
            emulator.reset()
            (spikes,) = emulator.run(one).outputs.values()
            found.append(int(spikes.argmax()))
        image, wanted = np.array(found), _torch_choices(read_nir(file, reset=reset), frames)
        yield {
            "part": "cnn", "reset": reset, "PEs": len(emulator.image.blobs),
            "recordings": len(labels), "right, PyTorch": int((wanted == labels).sum()),
            "right, image": int((image == labels).sum()),
            "other choices": np.flatnonzero(image != wanted).tolist(),
            "wrong": np.flatnonzero(image != labels).tolist(),
        }  # fmt: skip


def _frames(recording: Any) -> Any:
    """Events of each millisecond, pixel and polarity, (T, 2, 34, 34)."""
    step = recording["t"] // 1000
    frames = np.zeros((int(step.max()) + 1, 2, 34, 34), np.float32)
    np.add.at(frames, (step, recording["p"], recording["y"], recording["x"]), 1)
    return frames


@torch.no_grad()
def _torch_choices(graph: Graph, frames: list[Any]) -> Any:
    """The class with the most spikes by PyTorch's layers, of each recording."""
    batch = nn.utils.rnn.pad_sequence([torch.from_numpy(one) for one in frames])  # (T, B, ...)
    ends = torch.tensor([len(one) for one in frames])
    voltages: dict[str, Any] = {}
    counts: Tensor | float = 0.0
    for step, value in enumerate(batch):
        x = value
        for name in graph.order():
            x = _layer(graph.layers[name], x, name, voltages)
        counts = counts + x * (step < ends)[:, None]
    assert isinstance(counts, Tensor)
    return counts.argmax(1).numpy()


def _layer(layer: Any, x: Tensor, name: str, voltages: dict[str, Any]) -> Tensor:
    """One step of a layer of cnn_sinabs.nir."""

    def tensor(values: Any) -> Any:
        return None if values is None else torch.tensor(np.asarray(values, np.float32))

    kind = type(layer).__name__
    if kind == "Conv2d":
        weight, bias = tensor(layer.weight), tensor(layer.bias)
        return F.conv2d(x, weight, bias, layer.stride, layer.padding)
    if kind == "SumPool":
        return F.avg_pool2d(x, layer.kernel, layer.stride) * (layer.kernel[0] * layer.kernel[1])
    if kind == "Flatten":
        return x.flatten(1)
    if kind == "Dense":
        return F.linear(x, tensor(layer.weight), tensor(layer.bias))
    if kind == "If":
        threshold = tensor(layer.v_threshold)
        v = voltages.get(name, 0.0) + tensor(layer.r) * x
        spikes = (v >= threshold).float()
        rest = v - threshold if layer.reset == "subtract" else tensor(layer.v_reset)
        voltages[name] = torch.where(spikes > 0, rest, v)
        return spikes
    return x  # Input, Readout


class _Spike(torch.autograd.Function):
    """1 where v is at least 1; its gradient is that of a fast sigmoid."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        ctx.save_for_backward(v)
        return (v >= 1).float()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (v,) = ctx.saved_tensors
        return grads[0] / (1 + 5 * (v - 1).abs()) ** 2


class LifNetwork(nn.Module):
    """Two layers of LIF neurons, whose threshold is subtracted at a spike, and a dense readout,
    summed over the steps."""

    def __init__(self, sizes: tuple[int, ...] = (784, 128, 64, 10)) -> None:
        super().__init__()
        pairs = pairwise(sizes)
        self.layers = nn.ModuleList(nn.Linear(*pair, bias=False) for pair in pairs)
        with torch.no_grad():
            for layer in self.layers[:-1]:
                layer.weight.mul_(6)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 784) in [0, 1] -> (B, 10)."""
        voltages = [images.new_zeros(len(images), one.out_features) for one in self.layers[:-1]]
        out = images.new_zeros(len(images), 10)
        for x in events(images):
            for number, layer in enumerate(self.layers[:-1]):
                v = (1 - DT / TAU) * voltages[number] + DT / TAU * layer(x)
                x = _Spike.apply(v)
                voltages[number] = v - x
            out = out + self.layers[-1](x)
        return out

    def graph(self) -> Graph:
        """The graph of the network."""
        layers: dict[str, Any] = {"pixels": Input((784,), "events")}
        for number, layer in enumerate(self.layers):
            weight = layer.weight.detach().numpy()
            layers[f"fc{number}"] = Dense(weight)
            if number + 1 < len(self.layers):
                one, zero = np.ones(len(weight)), np.zeros(len(weight))
                layers[f"lif{number}"] = Lif(TAU * one, one, zero, one, zero, "subtract")
        layers["out"] = Readout("sum")
        names = list(layers)
        return Graph(layers, tuple(pairwise(names)))


def events(images: Any) -> Any:
    """An event of each pixel at the steps whose level it exceeds, (T, B, 784)."""
    return torch.stack([(images > (step + 0.5) / STEPS).float() for step in range(STEPS)])


def lif_network(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """A LIF network, trained on MNIST's training images, on all test images."""
    torch.manual_seed(0)
    train = read_mnist(options.data / "mnist", "train", pixels=784)
    x = torch.tensor(train.images).float() / 255
    labels = torch.tensor(train.labels)
    model = LifNetwork()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(3):
        for rows in torch.randperm(len(x)).split(128):
            loss = F.cross_entropy(model(x[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    test = read_mnist(options.data / "mnist", "test", pixels=784)
    images = torch.tensor(test.images).float() / 255
    with torch.no_grad():
        wanted = model(images).argmax(1).numpy()
    for precision in ("fp32", "int8"):
        image = compile(model.graph(), folder / precision, precision=precision, dt=DT)
        emulator = Emulator(image)
        found = []
        for steps in events(images).transpose(0, 1).numpy():
            emulator.reset()
            (out,) = emulator.run(steps).outputs.values()
            found.append(int(out.argmax()))
        got = np.array(found)
        yield {
            "part": "lif_network", "weights": precision, "images": len(got),
            **agreement(wanted, got, test.labels),
            "PEs": len(emulator.image.blobs),
        }  # fmt: skip


def lif(options: Any, folder: Path) -> Iterator[dict[str, Any]]:
    """The trace of one LIF neuron against that of py-spinnaker2: ours, and other simulators'.

    Each trace of another simulator gets the unit and the delay, 0 or 1 step, that fit best.
    """
    data = options.data / "nir"
    x, wanted, _ = np.loadtxt(data / "lif_spinnaker2.csv", delimiter=",").T

    def row(name: str, spikes: Any, voltage: Any) -> dict[str, Any]:
        return {
            "part": "lif", "simulator": name, "spikes at": np.flatnonzero(spikes).tolist(),
            "largest gap": float(np.abs(voltage - wanted).max()),
        }  # fmt: skip

    graph = read_nir(data / "lif_norse.nir")
    yield row("ours, float64", *exact_trace(graph, x))
    yield row("ours, the image", *image_trace(graph, x, folder / "lif"))
    for file in sorted(data.glob("lif_*.csv")):
        _, voltage, spikes = np.loadtxt(file, delimiter=",").T
        fits = (_fitted(voltage[delay:], wanted[: len(wanted) - delay]) for delay in (0, 1))
        gap, delay = min((gap, delay) for delay, gap in enumerate(fits))
        found = row(file.stem.removeprefix("lif_"), spikes, wanted)
        yield found | {"largest gap": gap, "delay": delay}


LIKE_THE_TRACE: dict[str, Any] = {"dt": 1e-4, "precision": "int8", "weight_scale": SCALE}


def exact_trace(graph: Graph, spikes: Any) -> tuple[Any, Any]:
    """(spikes, voltage after each step) of one neuron in float64, its parameters in float32 as on
    the chip."""
    network = Settings(**LIKE_THE_TRACE).network(graph)
    (one,) = network.on_chip()
    stored = {name: np.float64(np.float32(value)) for name, value in one.parameters.items()}
    one = replace(one, parameters=stored)
    network = replace(network, populations=network.populations | {one.name: one})
    (source,) = {projection.source for projection in network.projections}
    found = simulate(network, {source: spikes[:, None]})
    sent, margins = found.sent[one.name][:, 0], found.margins[one.name][:, 0]
    voltage = np.where(sent, one.parameters["reset"], margins + one.parameters["threshold"])
    return sent, voltage / SCALE


def image_trace(graph: Graph, spikes: Any, folder: Path) -> tuple[Any, Any]:
    """(spikes, voltage after each step) of one neuron by the emulator."""
    emulator = Emulator(compile(graph, folder, **LIKE_THE_TRACE))
    (name,) = [one.name for one in emulator.populations if one.pes is not None]
    sent, voltage = [], []
    for step in spikes.reshape(-1, 1, 1):
        sent.append(emulator.run(step, record=name).rasters[name][0, 0])
        voltage.append(emulator.state(name)["v"][0] / SCALE)
    return np.array(sent), np.array(voltage)


def _fitted(trace: Any, wanted: Any) -> float:
    """The largest gap after the scale that fits best."""
    scale = (trace @ wanted) / (trace @ trace)
    return float(np.abs(scale * trace - wanted).max())
