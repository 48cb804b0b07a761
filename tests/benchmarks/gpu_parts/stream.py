"""StreamConv on a GPU against Mamba layers of the same width.

mamba_ssm's block takes part where its CUDA extension is installed, and transformers' mixer both as
it comes and with this project's kernels patched in. Signals pass in bfloat16 by autocast. One axis
is the layer's work of a Mamba; three are what a cloud gets by default.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from gpu_parts.mamba import compiled_scan
from gpu_parts.timing import medians_ms
from torch import Tensor, nn
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

import evenfall
from evenfall_stream import StreamConv

Size = tuple[int, int, int]  # sequences, places of each, channels
SIZES: list[Size] = [(32, 192, 384), (8, 2048, 384)]
TINY_SIZES: list[Size] = [(2, 9, 8)]
STATES, MIXER = 16, "MambaMixer of transformers"
LONGEST_UNPATCHED = 192
"""transformers' own loop takes a time that grows with the square of the length backward."""
Rows = Iterator[dict[str, Any]]


def time_stream(device: str, large: bool, rounds: int) -> Rows:
    """A row for each size, pass and layer."""
    for size in SIZES if large else TINY_SIZES:
        for backward in (False, True):
            ms = medians_ms(contenders(size, device, backward), device, rounds)
            with evenfall.patch("mamba", targets=["transformers"]):
                patched = {f"{MIXER}, patched": mixer_pass(size, device, backward)}
                ms |= medians_ms(patched, device, rounds)
            ours = ms["StreamConv, one axis"]
            yield from (
                {"part": "stream", "sequences": size[0], "length": size[1], "channels": size[2],
                 "pass": "forward + backward" if backward else "forward", "layer": name,
                 "ms": value, "times_one_axis": None if not value or not ours else value / ours}
                for name, value in ms.items()
            )  # fmt: skip


def contenders(size: Size, device: str, backward: bool) -> dict[str, Callable[[], None]]:
    """Every layer that is there and needs no patch, each with features of its own."""
    sequences, length, channels = size
    x = features(size, device)
    pos = torch.rand(sequences * length, 3, device=device)
    batch = torch.arange(sequences, device=device).repeat_interleave(length)
    flat = x.flatten(0, 1)
    one = StreamConv(channels, channels, (0,), d_state=STATES).to(device)
    three = StreamConv(channels, channels, d_state=STATES).to(device)
    found = {
        "StreamConv, one axis": _pass(lambda x: one(x, pos, batch), one, flat, backward),
        "StreamConv, three axes": _pass(lambda x: three(x, pos, batch), three, flat, backward),
    }
    if length <= LONGEST_UNPATCHED:
        found[MIXER] = mixer_pass(size, device, backward)
    if compiled_scan() is not None:
        mamba = importlib.import_module("mamba_ssm").Mamba(channels, d_state=STATES).to(device)
        found["Mamba of mamba_ssm"] = _pass(mamba, mamba, x, backward)
    return found


def features(size: Size, device: str) -> Tensor:
    torch.manual_seed(0)
    return torch.randn(size, device=device)


def mixer_pass(size: Size, device: str, backward: bool) -> Callable[[], None]:
    config = MambaConfig(hidden_size=size[2], state_size=STATES, num_hidden_layers=1)
    mixer = MambaMixer(config, layer_idx=0).to(device)
    return _pass(mixer, mixer, features(size, device), backward)


def _pass(
    call: Callable[[Tensor], Tensor], layer: nn.Module, x: Tensor, backward: bool
) -> Callable[[], None]:
    x = x.detach().requires_grad_(backward)
    leaves = [x, *layer.parameters()]

    def run() -> None:
        with torch.set_grad_enabled(backward), torch.autocast(x.device.type, torch.bfloat16):
            out = call(x)
        if backward:
            torch.autograd.grad(out.float().sum(), leaves)

    return run
