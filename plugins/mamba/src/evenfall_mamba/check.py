"""What `evenfall mamba check` reports: versions, coverage, and the speed-up on this machine."""

from __future__ import annotations

import importlib.util
import inspect
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

import evenfall
from evenfall.backends import select
from evenfall.installed import installed_version, is_importable

from .families import FAMILIES, MAMBA2_FAMILIES, TESTED_MAMBA_SSM, TESTED_TRANSFORMERS

_PACKAGES = ("transformers", "mamba-ssm", "causal-conv1d", "kernels", "torch", "triton", "numba")
_EXTENSIONS = ("selective_scan_cuda", "causal_conv1d", "causal_conv1d_cuda")
_OPERATIONS = (
    "selective_scan", "selective_state_update", "ssd_scan", "ssd_state_update", "causal_conv1d",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Speed:
    """Median time of one task in milliseconds; `before` is None if it fails without the patch."""

    task: str
    before: float | None
    after: float

    def as_dict(self) -> dict[str, Any]:
        """The row and the gain `before / after`, as values for JSON."""
        gain = None if self.before is None else self.before / self.after
        return {**asdict(self), "gain": gain}


def package_versions() -> dict[str, str | None]:
    """The version of each package that the patch depends on, None if it is not installed."""
    return {package: installed_version(package) for package in _PACKAGES}


def coverage(device: str) -> dict[str, Any]:
    """Models and versions that the patch covers, its targets here, and each operation's backend."""
    return {
        "families": [family.name for family in (*FAMILIES, *MAMBA2_FAMILIES)],
        "transformers": TESTED_TRANSFORMERS,
        "mamba_ssm": TESTED_MAMBA_SSM,
        "targets": list(evenfall.patch("mamba").targets),
        "absent_extensions": [name for name in _EXTENSIONS if not is_importable(name)],
        "applied": [list(handle.targets) for handle in _handles()],
        "backends": {name: select(name, device=device).backend for name in _OPERATIONS},
    }


def _handles() -> list[Any]:
    from evenfall.patches import applied

    return [handle for handle in applied() if handle.name == "mamba"]


def measure(device: str, length: int, repeats: int) -> list[Speed]:
    """Time a Mamba and a Mamba-2 of 2 layers and width 256 without and with the patch, and one
    layer of mamba_ssm if that is installed.

    Raises:
        PatchError: the patch does not support an installed version.
    """
    tasks = _all_tasks(device, length)
    before = {name: _median(task, device, repeats) for name, task in tasks.items()}
    handle = evenfall.patch("mamba")
    block = "mamba_ssm" in handle.targets
    block_before = _unpatched_block(device, length, repeats) if block else None
    with handle:
        after = {name: _median(task, device, repeats) for name, task in tasks.items()}
        rows = [Speed(name, before[name], after[name]) for name in tasks]
        if block:
            task = _block(device, length)
            rows.append(
                Speed("mamba_ssm: train one layer", block_before, _median(task, device, repeats))
            )
    return rows


def _unpatched_block(device: str, length: int, repeats: int) -> float | None:
    try:
        return _median(_block(device, length), device, repeats)
    except Exception:  # without its extensions, mamba_ssm fails with errors of several types
        return None


def _block(device: str, length: int) -> Callable[[], object]:
    layer = importlib.import_module("mamba_ssm").Mamba(256).to(device)
    x = torch.randn(1, length, 256, device=device)
    return lambda: layer(x).sum().backward()


def _all_tasks(device: str, length: int) -> dict[str, Callable[[], object]]:
    from transformers import Mamba2Config, Mamba2ForCausalLM, MambaConfig, MambaForCausalLM

    sizes = {"vocab_size": 100, "hidden_size": 256, "num_hidden_layers": 2}
    models = {
        "Mamba": MambaForCausalLM(MambaConfig(**sizes)),
        "Mamba-2": Mamba2ForCausalLM(Mamba2Config(num_heads=8, head_dim=64, n_groups=1, **sizes)),
    }
    return {
        f"{name}: {task}": run
        for name, model in models.items()
        for task, run in _tasks(model.to(device), device, length).items()
    }


def _tasks(model: Any, device: str, length: int) -> dict[str, Callable[[], object]]:
    from transformers import DynamicCache

    ids = torch.randint(100, (1, length), device=device)

    @torch.no_grad()
    def prefill() -> None:
        model.eval()(ids)

    @torch.no_grad()
    def generate() -> None:
        cache = DynamicCache(config=model.config)
        names = inspect.signature(model.forward).parameters
        name = "cache" if "cache" in names else "cache_params"  # depends on the version
        for piece in [ids[:, :8]] + 16 * [ids[:, :1]]:
            model.eval()(piece, use_cache=True, **{name: cache})

    def train() -> None:
        model.train()(ids, labels=ids).loss.backward()
        model.zero_grad()

    return {
        f"forward of {length} tokens": prefill,
        "16 tokens one by one": generate,
        f"forward and backward of {length} tokens": train,
    }


def _median(task: Callable[[], object], device: str, repeats: int) -> float:
    task()  # compiles the kernels and fills caches
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        task()
        _wait(device)
        times.append(1e3 * (time.perf_counter() - start))
    return statistics.median(times)


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
