"""Memory and time of one training step."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from evenfall.checks import check_integer

from ..local import BlockLocal
from ..splitting.trial import storage_key, unchanged


@dataclass(frozen=True)
class StepCost:
    """The cost of a step.

    Attributes:
        saved_bytes: the most bytes saved for backward passes at one time, each storage once,
            without parameters. On the CPU, too.
        peak_bytes: the most memory that the GPU allocated beyond what was before; None on the CPU.
        seconds: the median of the rounds.
    """

    saved_bytes: int
    peak_bytes: int | None
    seconds: float


def measure_step(
    local: BlockLocal, *args: Any, target: Tensor, rounds: int = 3, **kwargs: Any
) -> StepCost:
    """Measure forward and backward passes on one batch. Gradients are cleared; weights, statistics,
    modes and random states stay as they are.

    Saved bytes are counted by hooks of autograd in a step of their own, which is not timed.

    Args:
        local: the blocks.
        *args, **kwargs: arguments of the model.
        target: of the batch.
        rounds: steps that are timed.

    Raises:
        ValueError: rounds is no positive integer.
    """
    check_integer("rounds", rounds, 1)
    steps = local.steps
    averages = [(p, p.detach().clone()) for p in local.rule.parameters() if not p.requires_grad]
    with unchanged(local):
        local.train()
        cost = _measure(local, args, kwargs, target, rounds)
    local.steps = steps
    with torch.no_grad():
        for average, before in averages:
            average.copy_(before)
    return cost


def _measure(
    local: BlockLocal, args: tuple[Any, ...], kwargs: dict[str, Any], target: Tensor, rounds: int
) -> StepCost:
    device = target.device

    def step() -> None:
        local(*args, target=target, **kwargs).loss.backward()
        local.zero_grad()

    counter = _LiveBytes(local)
    with torch.autograd.graph.saved_tensors_hooks(counter.pack, counter.unpack):
        step()
    times, peak = [], None
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    for _ in range(rounds):
        begin = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - begin)
    if device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(device) - before
    return StepCost(counter.most, peak, statistics.median(times))


class _Saved:
    """A saved tensor; when autograd frees it, its storage is counted off."""

    def __init__(self, tensor: Tensor, counter: _LiveBytes) -> None:
        self.tensor, self.counter = tensor, counter
        self.key = storage_key(tensor)
        counter.add(self.key, tensor.untyped_storage().nbytes())

    def __del__(self) -> None:
        self.counter.remove(self.key)


class _LiveBytes:
    """The bytes that are saved now, and the most that were."""

    def __init__(self, local: BlockLocal) -> None:
        self.now = self.most = 0
        self._uses: dict[int, list[int]] = {}  # storage -> [uses, bytes]
        self._parameters = {storage_key(p) for p in local.parameters()}

    def pack(self, tensor: Tensor) -> _Saved | Tensor:
        if storage_key(tensor) in self._parameters:
            return tensor
        return _Saved(tensor, self)

    def unpack(self, saved: _Saved | Tensor) -> Tensor:
        return saved.tensor if isinstance(saved, _Saved) else saved

    def add(self, key: int, size: int) -> None:
        uses = self._uses.setdefault(key, [0, size])
        uses[0] += 1
        if uses[0] == 1:
            self.now += size
            self.most = max(self.most, self.now)

    def remove(self, key: int) -> None:
        uses = self._uses[key]
        uses[0] -= 1
        if not uses[0]:
            self.now -= self._uses.pop(key)[1]
